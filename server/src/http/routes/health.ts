import type { AppPlugin } from '../app.ts';

/** Without content and without cost: `healthy` is the process, `ready` is the truth of its numbers. */
export const healthRoutes: AppPlugin = (app, options, done) => {
  app.get('/-/healthy', (_request, reply) => reply.type('text/plain; charset=utf-8').send('alive\n'));
  app.get('/-/ready', (_request, reply) => {
    const readiness = options.readiness();
    reply.type('text/plain; charset=utf-8');
    if (readiness.ready) return reply.send('ready\n');
    return reply.code(503).send(`not ready: ${readiness.why}\n`);
  });
  done();
};
