import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { failureOf, runCommand } from './command.ts';
import type { OnHostError } from './host-errors.ts';

const AT_ONCE = 16;
/** A processor that a real-time task keeps for itself lets nobody in. */
const PATIENCE_MS = 2000;

/** Why taskset cannot be run; null where it can. */
export async function tryTaskset(searchPath: string): Promise<string | null> {
  const options = { searchPath, timeoutMs: PATIENCE_MS };
  return failureOf(await runCommand('taskset', ['--version'], options), PATIENCE_MS);
}

/** The numbers of a list such as `0-3,8`, as sysfs writes them. */
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

export interface VisitOptions {
  /** PATH in which taskset is looked for. */
  searchPath?: string;
  onError?: OnHostError;
}

/**
 * Runs a program that does nothing on each processor that is online (SYS/devices/system/cpu/online), so that whatever runs there
 * gives way once. Resolves with the number of processors that did not let it in; 1 where they cannot be listed.
 */
export async function quiesceCpus(
  sysRoot: string,
  { searchPath = process.env.PATH ?? '', onError = () => {} }: VisitOptions = {},
): Promise<number> {
  let list: string;
  try {
    list = await readFile(join(sysRoot, 'devices/system/cpu/online'), 'utf8');
  } catch (error) {
    onError('processors', error);
    return 1;
  }
  const left = numbersOf(list);
  let rejected = 0;
  const visitor = async (): Promise<void> => {
    for (let number = left.shift(); number !== undefined; number = left.shift()) {
      const result = await runCommand('taskset', ['-c', String(number), 'true'], {
        searchPath,
        timeoutMs: PATIENCE_MS,
      });
      const failure = failureOf(result, PATIENCE_MS);
      if (failure === null) continue;
      rejected += 1;
      onError('processors', new Error(`taskset -c ${number}: ${failure}`));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, visitor));
  return rejected;
}
