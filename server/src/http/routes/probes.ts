import { ProbesAnswer } from '../../contract/answers.ts';
import { errorResponses } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { NoQuery } from './query.ts';

/** The probe part of the status. */
export const probesRoute: AppPlugin = (app, options, done) => {
  app.get(
    '/api/v1/probes',
    {
      schema: {
        tags: ['tracer'],
        summary: 'the probes, and why some are not attached',
        querystring: NoQuery,
        response: { 200: ProbesAnswer, ...errorResponses },
      },
    },
    () => {
      const { kernel, bpftrace, dialect, state, generation, probes } = options.model.status();
      return { kernel, bpftrace, dialect, state, generation, probes };
    },
  );
  done();
};
