import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { fastify, LogController } from 'fastify';
import { answerFrameworkError, installErrors, SAFE_HEADERS, sendError } from './error.ts';
import type { App, AppOptions } from './plugin.ts';
import { buffersRoute } from './routes/buffers.ts';
import { docsRoutes } from './routes/docs.ts';
import { eventsRoute } from './routes/events.ts';
import { healthRoutes } from './routes/health.ts';
import { historyRoute } from './routes/history.ts';
import { importsRoute } from './routes/imports.ts';
import { incidentsRoute } from './routes/incidents.ts';
import { metricsRoute } from './routes/metrics.ts';
import { collectSchemas, openapiRoute } from './routes/openapi.ts';
import { pageRoute } from './routes/page.ts';
import { probesRoute } from './routes/probes.ts';
import { reasonsRoute } from './routes/reasons.ts';
import { rejectionsRoute } from './routes/rejections.ts';
import { reloadRoute } from './routes/reload.ts';
import { statusRoute } from './routes/status.ts';
import { streamRoute } from './routes/stream.ts';
import { topologyRoute } from './routes/topology.ts';

/** Creates the routes without sockets. Tests call it with `inject()`, and any node:http server can serve it. */
export function createApp(options: AppOptions): App {
  const app = fastify({
    loggerInstance: options.logger,
    // Fastify logs two lines per request at info. The onResponse hook below logs one line at debug instead.
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: 'idle',
    // Fastify's 503 while the app closes does not have the documented error format. The real answer is as fast.
    return503OnClosing: false,
    frameworkErrors: answerFrameworkError,
    // Reject an unknown query parameter. Ajv must not remove it silently.
    ajv: { customOptions: { removeAdditional: false, allErrors: false } },
  }).withTypeProvider<TypeBoxTypeProvider>() as App;

  app.decorate('paths', [] as string[]);
  app.addHook('onRoute', (route) => {
    // A path with a parameter or wildcard cannot be a link.
    if (route.method === 'GET' && !/[:*]/.test(route.url)) app.paths.push(route.url);
  });
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(SAFE_HEADERS);
    const rejection = options.hosts.check(request.raw);
    if (rejection === undefined) done();
    else sendError(reply, rejection.status, rejection.error);
  });
  const { access } = options;
  if (access !== undefined) {
    app.addHook('onRequest', async (request, reply) => {
      const rejection = await access.check(request);
      if (rejection === undefined) return undefined;
      return sendError(reply.headers(rejection.headers), rejection.status, rejection.error);
    });
  }
  app.addHook('onResponse', (request, reply, done) => {
    const { method, url } = request;
    const ms = Math.round(reply.elapsedTime * 10) / 10;
    request.log.debug({ method, url, status: reply.statusCode, ms, from: request.ip }, 'answered');
    done();
  });
  installErrors(app);
  collectSchemas(app, options.model.status().version);

  const plugins = [
    pageRoute,
    healthRoutes,
    reloadRoute,
    metricsRoute,
    statusRoute,
    buffersRoute,
    importsRoute,
    rejectionsRoute,
    incidentsRoute,
    topologyRoute,
    historyRoute,
    probesRoute,
    eventsRoute,
    reasonsRoute,
    docsRoutes,
    streamRoute,
    openapiRoute,
  ];
  for (const plugin of plugins) app.register(plugin, options);
  return app;
}
