import { readFileSync } from 'node:fs';

/**
 * How many file descriptors this process may have open: the soft limit of RLIMIT_NOFILE, which Node raises to the hard one at its
 * start. Infinity where there is none, or where it cannot be read.
 */
export function descriptorLimit(procRoot = '/proc'): number {
  let text: string;
  try {
    text = readFileSync(`${procRoot}/self/limits`, 'utf8');
  } catch {
    return Number.POSITIVE_INFINITY;
  }
  const soft = /^Max open files\s+(\d+)\s/m.exec(text)?.[1];
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
}
