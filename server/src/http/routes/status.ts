import { StatusAnswer } from '../../contract/answers.ts';
import { errorResponses } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { NoQuery } from './query.ts';

export const statusRoute: AppPlugin = (app, options, done) => {
  app.get(
    '/api/v1/status',
    {
      schema: {
        tags: ['tracer'],
        summary: 'state of the tracer: dialect, probes and why some are not attached, losses',
        querystring: NoQuery,
        response: { 200: StatusAnswer, ...errorResponses },
      },
    },
    () => {
      const readiness = options.readiness();
      return { ...options.model.status(), not_ready: readiness.ready ? null : readiness.why };
    },
  );
  done();
};
