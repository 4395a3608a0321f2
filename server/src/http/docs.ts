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

const LINK = /\]\((?!\w+:|#)([^)\s#]+)\.md(#[^)\s]*)?\)/g;

/**
 * Adapts a page to the server that sends it: links to other pages of the docs become its URLs, and so does the default
 * address in commands. Links that lead out of docs/ stay.
 *
 * @param path of the page, below docs/
 * @param base URL of this server as the client named it
 */
export function servedPage(docs: Docs, path: string, base: string): string | undefined {
  return docs
    .get(path)
    ?.replaceAll(LINK, (link, target: string, anchor = '') => {
      const to = new URL(target, `http://docs/docs/${path}`).pathname.replace(/^\/docs\//, '');
      return docs.has(to) ? `](${base}/docs/${to}.md${anchor})` : link;
    })
    .replaceAll('http://127.0.0.1:10043', base)
    .replaceAll('127.0.0.1:10043', new URL(base).host);
}
