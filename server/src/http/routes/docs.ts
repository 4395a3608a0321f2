import { Type } from 'typebox';
import { TracerError } from '../../support/errors.ts';
import { didYouMean } from '../../support/suggest.ts';
import type { AppPlugin } from '../app.ts';
import { loadDocs, servedPage } from '../docs.ts';
import { errorResponses, quoted } from '../error.ts';
import { NoQuery, plainText } from './query.ts';

const RUNBOOKS = 'runbooks/';

/** Serves the docs and the runbooks, so that the links in alerts and dashboards work without configuration. */
export const docsRoutes: AppPlugin = (app, _options, done) => {
  const docs = loadDocs();
  const schema = (summary: string, description: string) => ({
    tags: ['reasons'],
    summary,
    querystring: NoQuery,
    response: { 200: plainText(description), ...errorResponses },
  });
  const Name = Type.Object({ name: Type.String({ description: 'with or without `.md`' }) });
  const find = (folder: string, given: string, host: string): string => {
    const name = given.replace(/\.md$/, '');
    const page = servedPage(docs, `${folder}${name}`, host);
    if (page !== undefined) return page;
    const known = [...docs.keys()]
      .filter((path) => path.startsWith(folder))
      .map((path) => path.slice(folder.length))
      .filter((path) => !path.includes('/'));
    throw new TracerError('not_found', `there is no page ${quoted(JSON.stringify(name))}`, {
      where: folder === RUNBOOKS ? '/runbooks' : `/docs/${folder}`.replace(/\/$/, ''),
      remedy: didYouMean(name, known),
    });
  };
  // As plain text: a browser displays it, but would download Markdown.
  const TEXT = 'text/plain; charset=utf-8';
  app.get(
    '/runbooks/:name',
    {
      schema: {
        ...schema('what an alert means and what to do, in Markdown', 'the runbook of this alert'),
        params: Name,
      },
    },
    ({ params, host }, reply) => reply.type(TEXT).send(find(RUNBOOKS, params.name, host)),
  );
  app.get(
    '/docs/:name',
    { schema: { ...schema('a page of the docs of this version, in Markdown', 'the page'), params: Name } },
    ({ params, host }, reply) => reply.type(TEXT).send(find('', params.name, host)),
  );
  app.get(
    '/docs/runbooks/:name',
    { schema: { ...schema('the same as /runbooks', 'the runbook of this alert'), params: Name } },
    ({ params, host }, reply) => reply.type(TEXT).send(find(RUNBOOKS, params.name, host)),
  );
  done();
};
