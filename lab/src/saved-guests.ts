import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheRoot, digest, markUsed, removeLeastUsed } from './cache.ts';

type Log = (line: string) => void;

/** States of one name that are kept. Each has some hundred MB. */
const KEPT = 2;

/**
 * The saved state of a running guest. The next run resumes it instead of booting and compiling the probes. A state is
 * valid only for the machine, the disks and the programs that made it, so its key contains all of them.
 */
export class SavedGuest {
  readonly #name: string;
  readonly #directory: string;
  readonly #log: Log;

  /**
   * The key is a digest of the texts in `made`, such as QEMU's version and arguments, and of the contents of `files`.
   */
  constructor(name: string, made: readonly string[], files: readonly string[], log: Log) {
    this.#name = name;
    this.#log = log;
    this.#directory = join(savedRoot(), `${name}-${digest(made, files)}`);
  }

  /**
   * The folder with the state; undefined if there is none. First waits while another guest of this process makes the
   * state.
   */
  async find(): Promise<string | undefined> {
    while (making.has(this.#directory)) await making.get(this.#directory);
    if (!existsSync(this.#directory)) return undefined;
    markUsed(this.#directory);
    return this.#directory;
  }

  /** Runs `action`, which makes the state and may save it. Until it ends, `find` waits. */
  async make(action: () => Promise<void>): Promise<void> {
    const made = action();
    making.set(
      this.#directory,
      made.catch(() => undefined),
    );
    try {
      await made;
    } finally {
      making.delete(this.#directory);
    }
  }

  /**
   * Calls `write` with a new folder, and then makes the folder available to `find`. Logs an error and does not throw
   * it.
   */
  async keep(write: (directory: string) => Promise<void>): Promise<void> {
    mkdirSync(savedRoot(), { recursive: true });
    // Two guests of this process may save the same state at once.
    const partial = `${this.#directory}.${process.pid}-${++saves}.partial`;
    mkdirSync(partial, { recursive: true });
    try {
      await write(partial);
      removeLeastUsed(savedRoot(), this.#name, KEPT - 1, this.#log);
      renameSync(partial, this.#directory);
    } catch (error) {
      rmSync(partial, { recursive: true, force: true });
      // Another run may have saved the same state in the meantime.
      if (!existsSync(this.#directory)) this.#log(`${this.#name}: not saved: ${String(error)}`);
    }
  }

  /** Removes a state that cannot be resumed. */
  discard(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Number of states that this process has started to save. */
let saves = 0;

/** States that guests of this process are making, by folder. */
const making = new Map<string, Promise<void>>();

function savedRoot(): string {
  return join(cacheRoot(), 'saved');
}

const versions = new Map<string, string>();

/** Output of `qemu --version`; cached. */
export function qemuVersion(qemu: string): string {
  const version = versions.get(qemu) ?? spawnSync(qemu, ['--version'], { encoding: 'utf8' }).stdout ?? '';
  versions.set(qemu, version);
  return version;
}

/** Removes half-saved states of runs that were killed. */
export function removeHalfSaved(): void {
  if (!existsSync(savedRoot())) return;
  for (const entry of readdirSync(savedRoot())) {
    const pid = /\.(\d+)-\d+\.partial$/.exec(entry)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(savedRoot(), entry), { recursive: true, force: true });
  }
}
