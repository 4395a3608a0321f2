import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Markdown by its path below docs/, without `.md`: `reasons`, `runbooks/VfioDmabufTracerBlind`. */
export type Docs = ReadonlyMap<string, string>;

/** Reads the docs from the built program's directory, or from the source tree. */
export function loadDocs(moduleUrl: string = import.meta.url): Docs {
  for (const relative of ['../docs', '../../../docs']) {
    const directory = fileURLToPath(new URL(relative, moduleUrl));
    if (!existsSync(directory)) continue;
    const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.md'),
    );
    return new Map(files.map((name) => [name.slice(0, -3), readFileSync(join(directory, name), 'utf8')]));
  }
  return new Map();
}

const PICTURE = /<img alt="([^"]*)"[^>]*>/g;
const LINK = /!?\[([^\]]*)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)/g;

/**
 * Adapts a page to the server that sends it: links to other pages of the docs become its URLs, and so does the default
 * address in commands. A link to another file becomes its text and the path of the file in the repository, because this
 * server does not have the file. A picture becomes its description.
 *
 * @param path of the page, below docs/
 * @param base URL of this server as the client named it
 */
export function servedPage(docs: Docs, path: string, base: string): string | undefined {
  return docs
    .get(path)
    ?.replaceAll(PICTURE, '(Picture: $1)')
    .replaceAll(LINK, (_link, text: string, target: string, anchor = '') => {
      const file = new URL(target, `http://docs/docs/${path}`).pathname.slice(1);
      const isServed = /^docs\/.*\.md$/.test(file) && docs.has(file.slice('docs/'.length, -'.md'.length));
      return isServed ? `[${text}](${base}/${file}${anchor})` : `${text} (repository: ${file})`;
    })
    .replaceAll('http://127.0.0.1:10043', base)
    .replaceAll('127.0.0.1:10043', new URL(base).host);
}
