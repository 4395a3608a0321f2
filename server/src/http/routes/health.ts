import type { AppPlugin } from '../app.ts';
import { errorResponses } from '../error.ts';
import { NoQuery, plainText } from './query.ts';

/** Without cost: `healthy` is the process, `ready` is the truth of its numbers. */
export const healthRoutes: AppPlugin = (app, options, done) => {
  app.get(
    '/-/healthy',
    {
      schema: {
        tags: ['tracer'],
        summary: 'the process lives',
        querystring: NoQuery,
        response: { 200: plainText('alive'), ...errorResponses },
      },
    },
    (_request, reply) => reply.type('text/plain; charset=utf-8').send('alive\n'),
  );
  app.get(
    '/-/ready',
    {
      schema: {
        tags: ['tracer'],
        summary: 'the numbers are true',
        querystring: NoQuery,
        response: {
          200: plainText('the counters of the kernel are being read, or the recording is complete'),
          503: plainText('they are not, and why'),
          ...errorResponses,
        },
      },
    },
    (_request, reply) => {
      const readiness = options.readiness();
      reply.type('text/plain; charset=utf-8');
      if (readiness.ready) return reply.send('ready\n');
      return reply.code(503).send(`not ready: ${readiness.why}\n`);
    },
  );
  done();
};
