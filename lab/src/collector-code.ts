import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** The content hash that the bundler puts into the name of a chunk. */
const HASH = /-[A-Z0-9]{8}(?=\.mjs)/g;
const STATIC_IMPORT = /(?:\bfrom|\bimport) ?"(\.[^"]+\.mjs)"/g;

/**
 * The code that `vfio-dmabuf-tracer record` loads: the entry, the command, and their static imports. Hashes in the
 * names of chunks are removed, so that a change of the server alone does not change these texts.
 */
export function collectorCode(program: string): string[] {
  const entry = join(program, 'vfio-dmabuf-tracer.mjs');
  const chunks = join(program, 'chunks');
  const record = readdirSync(chunks).find((name) => name.replace(HASH, '') === 'record.mjs');
  if (record === undefined)
    throw new Error(`${chunks} has no chunk for the command record: run npm run build`);
  const reached = new Set([entry, join(chunks, record)]);
  for (const file of reached) {
    for (const [, path = ''] of readFileSync(file, 'utf8').matchAll(STATIC_IMPORT))
      reached.add(join(dirname(file), path));
  }
  return [...reached]
    .map((file) => `${relative(program, file)}\n${readFileSync(file, 'utf8')}`.replaceAll(HASH, ''))
    .sort();
}
