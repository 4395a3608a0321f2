import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { TracerError } from './errors.ts';

/** Where the bpftrace fragments lie: beside the chunks of the built program, or at the top of the source tree. */
export function probesDirectory(moduleUrl: string = import.meta.url): string {
  for (const relative of ['../probes', '../../../probes']) {
    const directory = fileURLToPath(new URL(relative, moduleUrl));
    if (existsSync(directory)) return directory;
  }
  throw new TracerError('file_unreadable', 'the directory of the probes is missing', {
    where: fileURLToPath(new URL('../probes', moduleUrl)),
    remedy: 'install the program again: it needs the directory `probes` next to it',
  });
}
