import { errorResponses } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { NoQuery, plainText } from './query.ts';

/** Cheap probes. `healthy`: the process runs. `ready`: its metrics are current. */
export const healthRoutes: AppPlugin = (app, options, done) => {
  app.get(
    '/-/healthy',
    {
      schema: {
        tags: ['tracer'],
        summary: 'whether the process runs',
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
        summary: 'whether the metrics are current',
        querystring: NoQuery,
        response: {
          200: plainText('the counters of the kernel are being read, or the recording is complete'),
          503: plainText('not ready, with the reason'),
          ...errorResponses,
        },
      },
    },
    (_request, reply) => {
      const readiness = options.readiness();
      reply.type('text/plain; charset=utf-8');
      if (readiness.ready) return reply.send('ready\n');
      // The reason may name parts of this host, and this route needs no password.
      const why = options.access?.needsUser === true ? '/api/v1/status has the reason' : readiness.why;
      return reply.code(503).send(`not ready: ${why}\n`);
    },
  );
  done();
};
