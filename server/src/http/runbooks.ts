import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** By name, without the `.md` of its file. */
export type Runbooks = ReadonlyMap<string, string>;

/** Reads the pages that alerts lead to: beside the chunks of the built program, or in the docs of the source tree. */
export function loadRunbooks(moduleUrl: string = import.meta.url): Runbooks {
  for (const relative of ['../runbooks', '../../../docs/runbooks']) {
    const directory = fileURLToPath(new URL(relative, moduleUrl));
    if (!existsSync(directory)) continue;
    const files = readdirSync(directory).filter((name) => name.endsWith('.md'));
    return new Map(files.map((name) => [name.slice(0, -3), readFileSync(join(directory, name), 'utf8')]));
  }
  return new Map();
}
