import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, isAbsent, isDenied } from '../lib/errno.ts';
import { readLines } from '../lib/read-lines.ts';

/**
 * Finds the list of traceable functions. Opens it, because access(2) ignores ambient capabilities. `denied` is the
 * errno if the list exists but access is denied.
 * @throws if it exists and cannot be opened for another reason
 */
export async function findTracefs(sysRoot: string): Promise<{ path: string | null; denied?: string }> {
  let denied: string | undefined;
  for (const folder of ['kernel/tracing', 'kernel/debug/tracing']) {
    const path = join(sysRoot, folder, 'available_filter_functions');
    try {
      await (await open(path)).close();
      return { path };
    } catch (error) {
      if (isDenied(error)) denied ??= errnoOf(error);
      else if (!isAbsent(error)) throw error;
    }
  }
  return { path: null, ...(denied !== undefined && { denied }) };
}

/** `NAME MODULE` of each wanted function that the kernel lists as traceable; null if the list names none of them. */
export async function readTraceable(path: string, wanted: ReadonlySet<string>): Promise<Set<string> | null> {
  const found = new Set<string>();
  const parseLine = (line: string): void => {
    const space = line.search(/[\s]/);
    const name = space < 0 ? line : line.slice(0, space);
    if (wanted.has(name)) found.add(`${name} ${/\[(.+)\]/.exec(line)?.[1] ?? 'vmlinux'}`);
  };
  try {
    await readLines(createReadStream(path, { encoding: 'latin1', highWaterMark: 1 << 18 }), parseLine);
  } catch (error) {
    if (isAbsent(error) || errnoOf(error) === 'EISDIR') return null;
    throw error;
  }
  return found.size === 0 ? null : found;
}
