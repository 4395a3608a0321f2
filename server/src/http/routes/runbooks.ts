import { Type } from 'typebox';
import { TracerError } from '../../support/errors.ts';
import { didYouMean } from '../../support/suggest.ts';
import type { AppPlugin } from '../app.ts';
import { errorResponses, quoted } from '../error.ts';
import { loadRunbooks } from '../runbooks.ts';
import { NoQuery, plainText } from './query.ts';

/** Serves the runbooks here, so that the links in alerts and dashboards work without configuration. */
export const runbooksRoute: AppPlugin = (app, _options, done) => {
  const runbooks = loadRunbooks();
  app.get(
    '/runbooks/:name',
    {
      schema: {
        tags: ['reasons'],
        summary: 'what an alert means and what to do, in Markdown',
        params: Type.Object({
          name: Type.String({
            description: 'the name of the alert, with or without `.md`',
          }),
        }),
        querystring: NoQuery,
        response: { 200: plainText('the runbook of this alert'), ...errorResponses },
      },
    },
    ({ params }, reply) => {
      const name = params.name.replace(/\.md$/, '');
      const page = runbooks.get(name);
      if (page === undefined) {
        throw new TracerError('not_found', `there is no runbook ${quoted(JSON.stringify(name))}`, {
          where: '/runbooks',
          remedy: didYouMean(name, [...runbooks.keys()]),
        });
      }
      // As plain text: a browser displays it, but would download Markdown.
      return reply.type('text/plain; charset=utf-8').send(page);
    },
  );
  done();
};
