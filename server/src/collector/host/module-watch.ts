import { loadedModules } from './facts.ts';

/** Which modules came, went, or were loaded again since the last look. */
export class ModuleWatch {
  private readonly sysRoot: string;
  private modules: ReadonlyMap<string, number> = new Map();

  constructor(sysRoot: string) {
    this.sysRoot = sysRoot;
  }

  async look(): Promise<ReadonlySet<string>> {
    const before = this.modules;
    const now = await loadedModules(this.sysRoot);
    this.modules = now;
    const names = [...before.keys(), ...now.keys()];
    return new Set(names.filter((name) => before.get(name) !== now.get(name)));
  }
}
