import { loadedModules } from '../bpftrace/facts.ts';
import type { OnHostError } from '../collector/host-errors.ts';

export interface ModuleDiff {
  /** Modules that were loaded, unloaded or reloaded since the previous check. */
  changed: ReadonlySet<string>;
  /** Time of the previous check, in microseconds since boot; 0 for the first check. */
  since: number;
}

export interface ModuleWatchOptions {
  /** Microseconds since boot. */
  bootUs: () => number;
  onError: OnHostError;
}

/** Compares the loaded modules with those of the last successful check. */
export class ModuleWatch {
  readonly #sysRoot: string;
  readonly #options: ModuleWatchOptions;
  #modules: ReadonlyMap<string, number> = new Map();
  #checkedAt = 0;

  constructor(sysRoot: string, options: ModuleWatchOptions) {
    this.#sysRoot = sysRoot;
    this.#options = options;
  }

  /** Never rejects. If the list cannot be read, the error is counted and `changed` is empty. */
  async check(): Promise<ModuleDiff> {
    const { bootUs, onError } = this.#options;
    const before = this.#modules;
    const since = this.#checkedAt;
    const at = bootUs();
    let now: Map<string, number>;
    try {
      now = await loadedModules(this.#sysRoot);
    } catch (error) {
      onError('modules', error);
      return { changed: new Set(), since };
    }
    this.#modules = now;
    this.#checkedAt = at;
    const names = [...before.keys(), ...now.keys()];
    return { changed: new Set(names.filter((name) => before.get(name) !== now.get(name))), since };
  }
}
