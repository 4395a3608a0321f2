import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { CONTENT_TYPES, negotiate, renderMetrics } from '../../metrics/exposition.ts';
import type { AppPlugin } from '../app.ts';
import { asksFor } from '../encoding.ts';
import { errorResponses } from '../error.ts';
import { NoQuery, plainText } from './query.ts';

/** What the scrapes did; read by the metrics. */
export interface ScrapeCounters {
  /** Scrapes refused because web.max-requests others were being answered. */
  refused: number;
}

const compress = promisify(gzip);

export const metricsRoute: AppPlugin = (app, options, done) => {
  let answering = 0;
  app.addHook('onRequest', async (_request, reply) => {
    if (options.maxRequests > 0 && answering >= options.maxRequests) {
      options.scrapes.refused += 1;
      reply.header('retry-after', '1').code(503).type('text/plain; charset=utf-8');
      return await reply.send(`${answering} scrapes are being answered: web.max-requests allows no more\n`);
    }
    answering += 1;
    // `close` comes once for an answer that was sent and for a client that went away.
    reply.raw.once('close', () => {
      answering -= 1;
    });
    return undefined;
  });

  const schema = {
    tags: ['metrics'],
    summary: 'all metrics; gzip where it is asked for',
    querystring: NoQuery,
    response: {
      200: plainText('Prometheus text, or OpenMetrics where it is asked for', Object.values(CONTENT_TYPES)),
      503: plainText('as many scrapes as web.max-requests allows are being answered'),
      ...errorResponses,
    },
  };
  app.get(options.telemetryPath, { schema }, async (request, reply) => {
    const format = negotiate(request.headers.accept);
    const text = await renderMetrics(options.metrics, format);
    reply.header('content-type', CONTENT_TYPES[format]).header('vary', 'accept, accept-encoding');
    if (!asksFor('gzip', request.headers['accept-encoding'])) return reply.send(text);
    return reply.header('content-encoding', 'gzip').send(await compress(text));
  });
  done();
};
