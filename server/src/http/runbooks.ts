import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Markdown by name: the name is that of the file without `.md`. */
export type Runbooks = ReadonlyMap<string, string>;

/** Reads the pages that alerts link to, from the built program's directory or from docs/ of the source tree. */
export function loadRunbooks(moduleUrl: string = import.meta.url): Runbooks {
  for (const relative of ['../runbooks', '../../../docs/runbooks']) {
    const directory = fileURLToPath(new URL(relative, moduleUrl));
    if (!existsSync(directory)) continue;
    const files = readdirSync(directory).filter((name) => name.endsWith('.md'));
    return new Map(files.map((name) => [name.slice(0, -3), readFileSync(join(directory, name), 'utf8')]));
  }
  return new Map();
}
