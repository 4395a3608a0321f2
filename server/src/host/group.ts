import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * The number of a group, given by its name or number. Reads /etc/group only: a group of a directory service has to be
 * given by its number.
 *
 * @param etcRoot default `/etc`
 * @returns null if there is no such group
 */
export async function readGroupId(group: string, etcRoot = '/etc'): Promise<number | null> {
  // A name in /etc/group cannot consist of digits only.
  if (/^\d+$/.test(group)) return Number(group);
  const text = await readFile(join(etcRoot, 'group'), 'utf8').catch(() => '');
  for (const line of text.split('\n')) {
    const [name, , gid = ''] = line.split(':');
    if (name === group && /^\d+$/.test(gid)) return Number(gid);
  }
  return null;
}
