import { Type } from 'typebox';
import { TracerError } from '../../support/errors.ts';
import { didYouMean } from '../../support/suggest.ts';
import type { AppPlugin } from '../app.ts';
import { errorResponses, quoted } from '../error.ts';
import { loadRunbooks } from '../runbooks.ts';
import { NoQuery, plainText } from './query.ts';

/** Served here, so that the links of alerts and dashboards lead somewhere as they are imported. */
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
            description: 'the name of the alert; `.md` may follow, as in the name of the file',
          }),
        }),
        querystring: NoQuery,
        response: { 200: plainText('the page of this alert'), ...errorResponses },
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
      // As plain text, because a browser shows that and would save Markdown to a file.
      return reply.type('text/plain; charset=utf-8').send(page);
    },
  );
  done();
};
