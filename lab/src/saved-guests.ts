import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheRoot, digest, markUsed, removeLeastUsed } from './cache.ts';

type Log = (line: string) => void;

/** States of one name that are kept: each has some hundred MB. */
const KEPT = 2;

/**
 * States of guests that were saved in the middle of a run, so that the next run need not boot, or compile the probes. A state
 * belongs to exactly the machine, the disks and the programs that made it: all of them are in its key.
 */
export class SavedGuest {
  readonly #name: string;
  readonly #directory: string;
  readonly #log: Log;

  /** `made` has every text that decides what the state is, QEMU's version among them; `files` the paths whose contents do. */
  constructor(name: string, made: readonly string[], files: readonly string[], log: Log) {
    this.#name = name;
    this.#log = log;
    this.#directory = join(savedRoot(), `${name}-${digest(made, files)}`);
  }

  /** The folder with the state, or undefined where there is none. Waits for a guest of this process that is about to save it. */
  async find(): Promise<string | undefined> {
    while (making.has(this.#directory)) await making.get(this.#directory);
    if (!existsSync(this.#directory)) return undefined;
    markUsed(this.#directory);
    return this.#directory;
  }

  /** Runs `action`, which makes the state and may save it; who looks for the state meanwhile waits. */
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

  /** Has `write` fill a new folder, and puts it where `find` finds it. What cannot be saved is reported, and is no failure. */
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

  /** Removes a state that did not go on. */
  discard(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** How often this process has begun to save a state. */
let saves = 0;

/** States that guests of this process are about to save. */
const making = new Map<string, Promise<void>>();

const savedRoot = (): string => join(cacheRoot(), 'saved');

const versions = new Map<string, string>();

/** What a QEMU says of its version. */
export const qemuVersion = (qemu: string): string => {
  const version = versions.get(qemu) ?? spawnSync(qemu, ['--version'], { encoding: 'utf8' }).stdout ?? '';
  versions.set(qemu, version);
  return version;
};

/** Removes what runs that were killed have left half-saved. */
export const removeHalfSaved = (): void => {
  if (!existsSync(savedRoot())) return;
  for (const entry of readdirSync(savedRoot())) {
    const pid = /\.(\d+)-\d+\.partial$/.exec(entry)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(savedRoot(), entry), { recursive: true, force: true });
  }
};
