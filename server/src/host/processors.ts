import { readFile } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import type { OnReadError } from '../lib/errno.ts';
import { failureOf, runCommand } from './command.ts';

const CONCURRENCY = 16;
/** Limits the wait for a processor that a real-time task occupies. */
const TIMEOUT_MS = 2000;

/** Why taskset cannot be run; null if it can. */
export async function tryTaskset(searchPath: string): Promise<string | null> {
  const options = { searchPath, timeoutMs: TIMEOUT_MS };
  return failureOf(await runCommand('taskset', ['--version'], options), TIMEOUT_MS);
}

/** Parses a list of sysfs: `0-3,8` -> 0, 1, 2, 3, 8. */
export function numbersOf(list: string): number[] {
  return list
    .trim()
    .split(',')
    .filter((part) => part !== '')
    .flatMap((part) => {
      const [first = Number.NaN, last = first] = part.split('-').map(Number);
      return Array.from({ length: last - first + 1 }, (_, index) => first + index);
    });
}

export interface QuiesceOptions {
  /** PATH to find taskset in. */
  searchPath?: string;
  onError?: OnReadError;
}

/**
 * Forces a context switch on each online processor (SYS/devices/system/cpu/online): runs `true` there with taskset.
 * Resolves with the number of processors on which it failed. Without the list, that is the number of all processors.
 */
export async function quiesceCpus(
  sysRoot: string,
  { searchPath = process.env.PATH ?? '', onError = () => {} }: QuiesceOptions = {},
): Promise<number> {
  let remaining: number[];
  try {
    remaining = numbersOf(await readFile(join(sysRoot, 'devices/system/cpu/online'), 'utf8'));
    if (remaining.length === 0) throw new Error('the list of online processors is empty');
  } catch (error) {
    onError(error);
    // cpus() reads /proc and may be empty; the other number is at least 1, but leaves out what an affinity excludes.
    return Math.max(cpus().length, availableParallelism());
  }
  let failed = 0;
  const worker = async (): Promise<void> => {
    for (let number = remaining.shift(); number !== undefined; number = remaining.shift()) {
      const result = await runCommand('taskset', ['-c', String(number), 'true'], {
        searchPath,
        timeoutMs: TIMEOUT_MS,
      });
      const failure = failureOf(result, TIMEOUT_MS);
      if (failure === null) continue;
      failed += 1;
      onError(new Error(`taskset -c ${number}: ${failure}`));
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  return failed;
}
