import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import {
  CONTENT_TYPES,
  type ExpositionFormat,
  type FamilySource,
  negotiate,
  renderMetrics,
} from '../../metrics/exposition.ts';
import { arrivalOf } from '../connections.ts';
import { asksFor } from '../encoding.ts';
import { errorResponses } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { plainText } from './query.ts';

const compress = promisify(gzip);

interface Answer {
  /** When rendering began, in milliseconds of `performance.now()`. */
  since: number;
  body: Promise<Buffer>;
}

/** Milliseconds for which an answer is kept for waiting scrapes. */
const KEEP_MS = 1000;

/**
 * Renders the answers to scrapes. Scrapes that arrived before the rendering of an answer began share that answer: its
 * values are newer than their request. This way, concurrent scrapes cost as much time and memory as one.
 */
export class SharedAnswers {
  readonly #source: FamilySource;
  readonly #newest = new Map<string, Answer>();

  constructor(source: FamilySource) {
    this.#source = source;
  }

  /** @param arrival when the request was received, in milliseconds of `performance.now()`; undefined: do not share */
  get(format: ExpositionFormat, gzipped: boolean, arrival: number | undefined): Promise<Buffer> {
    const key = `${format} ${gzipped}`;
    const newest = this.#newest.get(key);
    if (newest !== undefined && arrival !== undefined && arrival < newest.since) return newest.body;
    const answer = { since: performance.now(), body: this.#make(format, gzipped) };
    this.#newest.set(key, answer);
    const discard = (): void => {
      if (this.#newest.get(key) === answer) this.#newest.delete(key);
    };
    setTimeout(discard, KEEP_MS).unref();
    answer.body.catch(discard);
    return answer.body;
  }

  async #make(format: ExpositionFormat, gzipped: boolean): Promise<Buffer> {
    const text = await renderMetrics(this.#source, format);
    return gzipped ? compress(text) : Buffer.from(text);
  }
}

export const metricsRoute: AppPlugin = (app, options, done) => {
  let rendering = 0;
  const answers = new SharedAnswers(options.metrics);
  const schema = {
    tags: ['metrics'],
    // Any query is allowed: Prometheus sends the parameters of a job, such as `collect[]`, to all its targets.
    summary: 'all metrics; the query is ignored; gzip on request',
    response: {
      200: plainText('Prometheus text, or OpenMetrics on request', Object.values(CONTENT_TYPES)),
      503: plainText('the limit web.max-requests of concurrent scrapes is reached'),
      ...errorResponses,
    },
  };
  app.get(options.telemetryPath, { schema }, async (request, reply) => {
    if (options.maxRequests > 0 && rendering >= options.maxRequests) {
      options.scrapes.rejected += 1;
      reply.header('retry-after', '1').code(503).type('text/plain; charset=utf-8');
      return reply.send(`${rendering} scrapes are being answered: the limit web.max-requests is reached\n`);
    }
    const format = negotiate(request.headers.accept);
    const gzipped = asksFor('gzip', request.headers['accept-encoding']);
    let body: Buffer;
    // A scrape counts only while its answer is rendered. Connections limits answers that clients do not read.
    rendering += 1;
    try {
      body = await answers.get(format, gzipped, arrivalOf(request.raw));
    } finally {
      rendering -= 1;
    }
    reply.header('content-type', CONTENT_TYPES[format]).header('vary', 'accept, accept-encoding');
    if (gzipped) reply.header('content-encoding', 'gzip');
    return reply.send(body);
  });
  done();
};
