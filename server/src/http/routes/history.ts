import { Type } from 'typebox';
import { HistorySample } from '../../model/history.ts';
import type { AppPlugin } from '../app.ts';
import { errorResponses } from '../error.ts';
import { NoQuery } from './query.ts';

export const HistoryAnswer = Type.Object({
  samples: Type.Array(HistorySample, {
    description:
      'the last half hour of the stream, the oldest first, each over the time since the one before: a second at first, up to ' +
      '8 s when that fills; nothing where the counters were not read',
  }),
});

/** Enough for a plot without a Prometheus. */
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
