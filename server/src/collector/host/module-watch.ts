import { loadedModules } from './facts.ts';
import type { OnHostError } from './host-errors.ts';

export interface ModuleLook {
  /** Modules that came, went, or were loaded again since the look before. */
  changed: ReadonlySet<string>;
  /** When the look before was, in microseconds since boot; 0 where this is the first. */
  since: number;
}

export interface ModuleWatchOptions {
  /** Microseconds since boot. */
  bootUs: () => number;
  onError: OnHostError;
}

/** Compares the loaded modules with those of the last look that succeeded. */
export class ModuleWatch {
  private readonly sysRoot: string;
  private readonly options: ModuleWatchOptions;
  private modules: ReadonlyMap<string, number> = new Map();
  private lookedAt = 0;

  constructor(sysRoot: string, options: ModuleWatchOptions) {
    this.sysRoot = sysRoot;
    this.options = options;
  }

  /** Never rejects: a list that cannot be read is counted, and nothing has changed as far as is known. */
  async look(): Promise<ModuleLook> {
    const { bootUs, onError } = this.options;
    const before = this.modules;
    const since = this.lookedAt;
    const at = bootUs();
    let now: Map<string, number>;
    try {
      now = await loadedModules(this.sysRoot);
    } catch (error) {
      onError('modules', error);
      return { changed: new Set(), since };
    }
    this.modules = now;
    this.lookedAt = at;
    const names = [...before.keys(), ...now.keys()];
    return { changed: new Set(names.filter((name) => before.get(name) !== now.get(name))), since };
  }
}
