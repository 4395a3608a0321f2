import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { CONTENT_TYPES, negotiate, renderMetrics } from '../../metrics/exposition.ts';
import type { AppPlugin } from '../app.ts';
import { asksFor } from '../encoding.ts';
import { errorResponses } from '../error.ts';
import { plainText } from './query.ts';

/** What the scrapes did; read by the metrics. */
export interface ScrapeCounters {
  /** Scrapes refused because web.max-requests others were being answered. */
  refused: number;
}

const compress = promisify(gzip);

export const metricsRoute: AppPlugin = (app, options, done) => {
  let answering = 0;
  const schema = {
    tags: ['metrics'],
    // Prometheus sends the parameters of a job to all its targets, such as `collect[]` of node_exporter.
    summary: 'all metrics, whatever the query is; gzip where it is asked for',
    response: {
      200: plainText('Prometheus text, or OpenMetrics where it is asked for', Object.values(CONTENT_TYPES)),
      503: plainText('as many scrapes as web.max-requests allows are being answered'),
      ...errorResponses,
    },
  };
  app.get(options.telemetryPath, { schema }, async (request, reply) => {
    if (options.maxRequests > 0 && answering >= options.maxRequests) {
      options.scrapes.refused += 1;
      reply.header('retry-after', '1').code(503).type('text/plain; charset=utf-8');
      return reply.send(`${answering} scrapes are being answered: web.max-requests allows no more\n`);
    }
    const format = negotiate(request.headers.accept);
    const packed = asksFor('gzip', request.headers['accept-encoding']);
    let body: string | Buffer;
    // The slot is for the work. An answer that its client does not take has ended the work; Connections limits those.
    answering += 1;
    try {
      body = await renderMetrics(options.metrics, format);
      if (packed) body = await compress(body);
    } finally {
      answering -= 1;
    }
    reply.header('content-type', CONTENT_TYPES[format]).header('vary', 'accept, accept-encoding');
    if (packed) reply.header('content-encoding', 'gzip');
    return reply.send(body);
  });
  done();
};
