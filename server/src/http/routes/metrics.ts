import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import {
  CONTENT_TYPES,
  type ExpositionFormat,
  type FamilySource,
  negotiate,
  renderMetrics,
} from '../../metrics/exposition.ts';
import type { AppPlugin } from '../app.ts';
import { arrivalOf } from '../connections.ts';
import { asksFor } from '../encoding.ts';
import { errorResponses } from '../error.ts';
import { plainText } from './query.ts';

/** What the scrapes did; read by the metrics. */
export interface ScrapeCounters {
  /** Scrapes rejected because web.max-requests others were being answered. */
  rejected: number;
}

const compress = promisify(gzip);

interface Answer {
  /** When its making began, in milliseconds of `performance.now()`. */
  since: number;
  body: Promise<Buffer>;
}

/** Milliseconds that an answer is kept for the scrapes that have been waiting for it. */
const KEEP_MS = 1000;

/**
 * The bytes of scrapes. Those that arrived before an answer began to be made share it: to them it is as new as one of their own, and
 * many scrapes at once cost no more time and memory than one.
 */
export class SharedAnswers {
  readonly #source: FamilySource;
  readonly #newest = new Map<string, Answer>();

  constructor(source: FamilySource) {
    this.#source = source;
  }

  /** @param arrival when the request was received, in milliseconds of `performance.now()`; undefined shares nothing */
  get(format: ExpositionFormat, packed: boolean, arrival: number | undefined): Promise<Buffer> {
    const key = `${format} ${packed}`;
    const newest = this.#newest.get(key);
    if (newest !== undefined && arrival !== undefined && arrival < newest.since) return newest.body;
    const answer = { since: performance.now(), body: this.#make(format, packed) };
    this.#newest.set(key, answer);
    const forget = (): void => {
      if (this.#newest.get(key) === answer) this.#newest.delete(key);
    };
    setTimeout(forget, KEEP_MS).unref();
    answer.body.catch(forget);
    return answer.body;
  }

  async #make(format: ExpositionFormat, packed: boolean): Promise<Buffer> {
    const text = await renderMetrics(this.#source, format);
    return packed ? compress(text) : Buffer.from(text);
  }
}

export const metricsRoute: AppPlugin = (app, options, done) => {
  let answering = 0;
  const answers = new SharedAnswers(options.metrics);
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
      options.scrapes.rejected += 1;
      reply.header('retry-after', '1').code(503).type('text/plain; charset=utf-8');
      return reply.send(`${answering} scrapes are being answered: web.max-requests allows no more\n`);
    }
    const format = negotiate(request.headers.accept);
    const packed = asksFor('gzip', request.headers['accept-encoding']);
    let body: Buffer;
    // The slot is for the work. An answer that its client does not take has ended the work; Connections limits those.
    answering += 1;
    try {
      body = await answers.get(format, packed, arrivalOf(request.raw));
    } finally {
      answering -= 1;
    }
    reply.header('content-type', CONTENT_TYPES[format]).header('vary', 'accept, accept-encoding');
    if (packed) reply.header('content-encoding', 'gzip');
    return reply.send(body);
  });
  done();
};
