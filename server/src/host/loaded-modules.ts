import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type OnReadError, orAbsent } from '../lib/errno.ts';

export interface ModuleDiff {
  /** Modules that were loaded, unloaded or reloaded since the previous check. */
  changed: ReadonlySet<string>;
  /** Time of the previous check, in microseconds since boot; 0 for the first check. */
  since: number;
}

export interface LoadedModulesOptions {
  /** Microseconds since boot. */
  bootUs: () => number;
  onError: OnReadError;
}

/** Compares the loaded modules with those of the last successful check. */
export class LoadedModules {
  readonly #sysRoot: string;
  readonly #options: LoadedModulesOptions;
  #modules: ReadonlyMap<string, number> = new Map();
  #checkedAt = 0;

  constructor(sysRoot: string, options: LoadedModulesOptions) {
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
      now = await readModules(this.#sysRoot);
    } catch (error) {
      onError(error);
      return { changed: new Set(), since };
    }
    this.#modules = now;
    this.#checkedAt = at;
    const names = [...before.keys(), ...now.keys()];
    return { changed: new Set(names.filter((name) => before.get(name) !== now.get(name))), since };
  }
}

/**
 * Sorted names of the loaded modules that have BTF, and `vmlinux`.
 * @throws if the list exists and cannot be read
 */
export async function listBtf(folder: string): Promise<string[]> {
  return (await orAbsent(readdir(folder), [])).sort();
}

/**
 * The loaded modules by name, each with the inode of its BTF file. A different inode means that the module was
 * reloaded, which detached its probes.
 * @throws if the list, or one of its files, exists and cannot be read
 */
async function readModules(sysRoot = '/sys'): Promise<Map<string, number>> {
  const folder = join(sysRoot, 'kernel/btf');
  const modules = new Map<string, number>();
  for (const name of await listBtf(folder)) {
    const found = await orAbsent(stat(join(folder, name)), null);
    if (found !== null && name !== 'vmlinux') modules.set(name, found.ino);
  }
  return modules;
}
