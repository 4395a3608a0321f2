import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const AT_ONCE = 16;
/** A processor that a real-time task keeps for itself lets nobody in. */
const PATIENCE_MS = 2000;

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

/**
 * Runs a program that does nothing on each processor that is online (SYS/devices/system/cpu/online), so that whatever runs there
 * gives way once. Resolves with the number of processors that did not let it in; 1 where they cannot be listed.
 */
export async function visitProcessors(sysRoot: string): Promise<number> {
  const list = await readFile(join(sysRoot, 'devices/system/cpu/online'), 'utf8').catch(() => null);
  if (list === null) return 1;
  const left = numbersOf(list);
  let refused = 0;
  const visitor = async (): Promise<void> => {
    for (let number = left.shift(); number !== undefined; number = left.shift()) {
      const visit = promisify(execFile)('taskset', ['-c', String(number), 'true'], { timeout: PATIENCE_MS });
      await visit.catch(() => {
        refused += 1;
      });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, visitor));
  return refused;
}
