import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { TracerError } from './errors.ts';

/**
 * The directory of the bpftrace fragments: next to the chunks of the built program, or at the top of the source tree.
 */
export function probesDirectory(moduleUrl: string = import.meta.url): string {
  for (const relative of ['../probes', '../../../probes']) {
    const directory = fileURLToPath(new URL(relative, moduleUrl));
    if (existsSync(directory)) return directory;
  }
  throw new TracerError('file_unreadable', 'the directory `probes` is missing', {
    where: fileURLToPath(new URL('../probes', moduleUrl)),
    remedy: 'reinstall vfio-dmabuf-tracer: it needs the directory `probes` next to it',
  });
}
