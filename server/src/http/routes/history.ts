import { Type } from 'typebox';
import { HistorySample } from '../../model/history.ts';
import { errorResponses } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { NoQuery } from './query.ts';

export const HistoryAnswer = Type.Object({
  samples: Type.Array(HistorySample, {
    description:
      'the last half hour of the stream, the oldest first. Each sample covers the time since the previous one: 1 s at first, ' +
      'and up to 8 s as the history fills. There are no samples while the counters are not read.',
  }),
});

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
