import { Status } from '../../model/schema.ts';
import type { AppPlugin } from '../app.ts';
import { errorResponses } from '../error.ts';
import { NoQuery } from './query.ts';

export const statusRoute: AppPlugin = (app, options, done) => {
  app.get(
    '/api/v1/status',
    {
      schema: {
        tags: ['tracer'],
        summary: 'dialect, probes and why one is missing, losses',
        querystring: NoQuery,
        response: { 200: Status, ...errorResponses },
      },
    },
    () => options.model.status(),
  );
  done();
};
