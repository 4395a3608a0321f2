import { readFileSync } from 'node:fs';

/**
 * Maximum number of open file descriptors of this process: the soft limit of RLIMIT_NOFILE, which Node raises to the
 * hard limit when it starts. Infinity if there is no limit, or if it cannot be read.
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
