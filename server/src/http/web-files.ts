import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const TYPES: Readonly<Record<string, string>> = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

interface WebFile {
  name: string;
  type: string;
  plain: Buffer;
  gzip: Buffer;
  br: Buffer;
}

/**
 * The files of the built page, by name. A name contains a hash of the content, so clients can cache the file forever.
 */
export type WebFiles = ReadonlyMap<string, WebFile>;

/**
 * Reads the files that tools/build.mjs wrote next to the program, already compressed: three files of about 100 KB in
 * total. Undefined if the program runs from its sources.
 */
export function loadWebFiles(
  directory: string = fileURLToPath(new URL('../web', import.meta.url)),
): WebFiles | undefined {
  if (!existsSync(directory)) return undefined;
  const read = (name: string): Buffer => readFileSync(join(directory, name));
  const files = readdirSync(directory).flatMap((name): WebFile[] => {
    const type = TYPES[extname(name)];
    if (type === undefined) return [];
    return [{ name, type, plain: read(name), gzip: read(`${name}.gz`), br: read(`${name}.br`) }];
  });
  return new Map(files.map((file) => [file.name, file]));
}
