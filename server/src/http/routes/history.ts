import { HistoryAnswer } from '../../contract/answers.ts';
import { errorResponses } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { NoQuery } from './query.ts';

/** Serves plots without a Prometheus. */
export const historyRoute: AppPlugin = (app, options, done) => {
  app.get(
    '/api/v1/history',
    {
      schema: {
        tags: ['tracer'],
        summary: 'rates and durations of the last half hour, for plots',
        querystring: NoQuery,
        response: { 200: HistoryAnswer, ...errorResponses },
      },
    },
    () => ({ samples: options.model.history() }),
  );
  done();
};
