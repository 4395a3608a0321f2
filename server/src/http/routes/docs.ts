import { Type } from 'typebox';
import { TracerError } from '../../lib/errors.ts';
import { didYouMean } from '../../lib/suggest.ts';
import { loadDocs, servedPage } from '../docs.ts';
import { errorResponses, quoted } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { NoQuery, plainText } from './query.ts';

const RUNBOOKS = 'runbooks/';
/** Path, folder below docs/, and summary. */
const ROUTES = [
  ['/runbooks', RUNBOOKS, 'what an alert means and what to do, in Markdown'],
  ['/docs', '', 'a page of the docs of this version, in Markdown'],
  ['/docs/runbooks', RUNBOOKS, 'the same as /runbooks'],
] as const;

/** Serves the docs and the runbooks, so that the links in alerts and dashboards work without configuration. */
export const docsRoutes: AppPlugin = (app, _options, done) => {
  const docs = loadDocs();
  for (const [path, folder, summary] of ROUTES) {
    const known = [...docs.keys()]
      .filter((page) => page.startsWith(folder))
      .map((page) => page.slice(folder.length))
      .filter((page) => !page.includes('/'));
    app.get(
      `${path}/:name`,
      {
        schema: {
          tags: ['reasons'],
          summary,
          params: Type.Object({ name: Type.String({ description: 'with or without `.md`' }) }),
          querystring: NoQuery,
          response: { 200: plainText('the page'), ...errorResponses },
        },
      },
      ({ params, host, protocol }, reply) => {
        const name = params.name.replace(/\.md$/, '');
        const page = servedPage(docs, `${folder}${name}`, `${protocol}://${host}`);
        if (page === undefined) {
          throw new TracerError('not_found', `there is no page ${quoted(JSON.stringify(name))}`, {
            where: path,
            remedy: didYouMean(name, known),
          });
        }
        // As plain text: a browser displays it, but would download Markdown.
        return reply.type('text/plain; charset=utf-8').send(page);
      },
    );
  }
  done();
};
