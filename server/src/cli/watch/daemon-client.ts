import { get, type IncomingMessage } from 'node:http';
import { Value } from 'typebox/value';
import { ApiError } from '../../http/error.ts';
import { TracerError } from '../../support/errors.ts';
import { neutral } from '../../support/neutral.ts';

export const DEFAULT_URL = 'http://127.0.0.1:10043';

/** A daemon that does not say anything for so long is gone; its streams have a comment each 15 s. */
const SILENCE_MS = 60_000;
/** Time for a whole answer, of a stream for its headers: one that comes a byte at a time ends too. */
const ANSWER_MS = 60_000;
/** Bytes of an answer. 10,000 buffers with ten importers each are below it. */
const ANSWER_BYTES = 64 << 20;
/** Bytes of an answer that is no list. */
export const SHORT_ANSWER_BYTES = 4 << 20;
/** Characters of what a server says is wrong. */
const MESSAGE_LENGTH = 500;

/** A compiled schema of the API: 30 MiB are checked in a tenth of a second, which takes seconds without. */
export interface Checker<T> {
  Check(value: unknown): value is T;
  Errors(value: unknown): { instancePath: string; message: string }[];
}

export interface DaemonClientOptions {
  /** Longest answer that is read, in bytes. */
  maxBytes?: number;
  /** Time for a whole answer, in milliseconds. */
  answerMs?: number;
}

/** The base of all paths of a daemon, without a slash at its end. */
export function daemonUrl(text: string): URL {
  const problem = (why: string, remedy: string) =>
    new TracerError('bad_usage', `${JSON.stringify(text)} is no URL of a daemon: ${why}`, {
      where: 'command line',
      remedy,
    });
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'https:') {
    throw problem(
      'the daemon speaks no TLS',
      `write ${text.replace(/^https/i, 'http')}, or the URL behind the proxy`,
    );
  }
  if (url?.protocol !== 'http:')
    throw problem('it does not begin with http://', `write it like ${DEFAULT_URL}`);
  if (url.search !== '' || url.hash !== '' || url.username !== '') {
    throw problem('it is more than a host, a port and a path', `write it like ${DEFAULT_URL}`);
  }
  return url;
}

/**
 * Asks one daemon. Anybody may listen at its address while it is away, so nothing of an answer is believed: it is bounded in size and
 * in time, and checked against the schema by which the daemon answers. What fails is a TracerError that can be shown.
 */
export class DaemonClient {
  readonly url: string;
  readonly #maxBytes: number;
  readonly #answerMs: number;

  constructor(url: URL, { maxBytes = ANSWER_BYTES, answerMs = ANSWER_MS }: DaemonClientOptions = {}) {
    this.url = url.href.replace(/\/+$/, '');
    this.#maxBytes = maxBytes;
    this.#answerMs = answerMs;
  }

  /**
   * The answer at a path.
   *
   * @throws TracerError where there is none, where it is an error of the daemon, too long, or not as the schema has it
   */
  async json<T>(
    path: string,
    schema: Checker<T>,
    signal: AbortSignal,
    maxBytes = this.#maxBytes,
  ): Promise<T> {
    const { status, text } = await this.#whole(path, signal, maxBytes);
    if (status !== 200) throw this.#rejected(status, text);
    const value = parsed(text);
    if (value === undefined) throw this.stranger();
    if (schema.Check(value)) return value;
    // To name the place takes many times as long as to check.
    throw this.unreadable(path, text.length > SHORT_ANSWER_BYTES ? undefined : schema.Errors(value)[0]);
  }

  /** Text of the event stream, as it comes; it has no end, so whoever reads it bounds what is kept of it. */
  async *stream(path: string, lastEventId: string | undefined, signal: AbortSignal): AsyncGenerator<string> {
    const deadline = new Deadline(signal, this.#answerMs);
    try {
      const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
      const answer = await this.#ask(path, headers, deadline);
      const status = answer.statusCode ?? 0;
      if (status !== 200)
        throw this.#rejected(status, await this.#read(answer, SHORT_ANSWER_BYTES, deadline));
      if (!String(answer.headers['content-type']).startsWith('text/event-stream')) {
        answer.destroy();
        throw this.stranger();
      }
      deadline.clear();
      try {
        for await (const chunk of answer.setEncoding('utf8')) yield chunk as string;
      } catch (cause) {
        throw this.#unreachable(cause as NodeJS.ErrnoException);
      }
    } finally {
      deadline.clear();
    }
  }

  /** What answers is no daemon of ours. */
  stranger(): TracerError {
    return new TracerError('address_unavailable', `what answers at ${this.url} is no vfio-dmabuf-tracer`, {
      remedy: 'give the URL of the daemon: its --web.listen-address',
    });
  }

  /** The answer has another shape than this program knows. */
  unreadable(path: string, found: { instancePath: string; message: string } | undefined): TracerError {
    const where = bounded(`${path.split('?')[0]} ${found?.instancePath ?? ''}`.trim());
    const message = `the answer of ${this.url} cannot be read: ${where}: ${found?.message ?? 'not as it has to be'}`;
    return new TracerError('address_unavailable', message, {
      remedy: 'use the vfio-dmabuf-tracer of the version of the daemon, or give the URL of a daemon',
    });
  }

  async #whole(
    path: string,
    signal: AbortSignal,
    maxBytes: number,
  ): Promise<{ status: number; text: string }> {
    const deadline = new Deadline(signal, this.#answerMs);
    try {
      const answer = await this.#ask(path, {}, deadline);
      return { status: answer.statusCode ?? 0, text: await this.#read(answer, maxBytes, deadline) };
    } finally {
      deadline.clear();
    }
  }

  #ask(path: string, headers: Record<string, string>, deadline: Deadline): Promise<IncomingMessage> {
    const { signal } = deadline;
    return new Promise((resolve, reject) => {
      const request = get(`${this.url}${path}`, { headers, signal, timeout: SILENCE_MS }, resolve);
      request.on('timeout', () => request.destroy(new Error(`no word for ${SILENCE_MS / 1000} s`)));
      request.on('error', (error) => reject(this.#unreachable(deadline.cause ?? error)));
    });
  }

  async #read(answer: IncomingMessage, maxBytes: number, deadline: Deadline): Promise<string> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of answer as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > maxBytes) break;
        chunks.push(chunk);
      }
    } catch (cause) {
      throw this.#unreachable(deadline.cause ?? (cause as NodeJS.ErrnoException));
    }
    if (bytes <= maxBytes) return Buffer.concat(chunks).toString('utf8');
    answer.destroy();
    const limit = maxBytes >= 1 << 20 ? `${maxBytes >> 20} MiB` : `${maxBytes} bytes`;
    throw new TracerError('address_unavailable', `the answer of ${this.url} is longer than ${limit}`, {
      remedy: 'ask for less with --device or --state, or give the URL of a daemon',
    });
  }

  #unreachable(error: NodeJS.ErrnoException): TracerError {
    const words: Record<string, string> = {
      ECONNREFUSED: 'nothing listens there',
      ECONNRESET: 'the connection was cut',
      ENOTFOUND: 'there is no such host',
      EAI_AGAIN: 'the name of the host cannot be looked up now',
      EHOSTUNREACH: 'there is no way to that host',
      ETIMEDOUT: 'that host does not answer',
    };
    const why = words[error.code ?? ''] ?? bounded(error.message);
    return new TracerError('address_unavailable', `no daemon can be reached at ${this.url}: ${why}`, {
      remedy:
        'start it (`vfio-dmabuf-tracer run`), or give its URL: `vfio-dmabuf-tracer watch http://HOST:PORT`',
      cause: error,
    });
  }

  #rejected(status: number, text: string): TracerError {
    const body = parsed(text);
    // What does not answer as our daemon does is none; that includes a redirect, which is never followed.
    if (!Value.Check(ApiError, body)) return this.stranger();
    const { message, hint } = body.error;
    const detail = hint === null ? {} : { remedy: bounded(hint) };
    // What the user asked for is wrong and stays wrong; all else may pass.
    return new TracerError(status === 400 ? 'bad_usage' : 'address_unavailable', bounded(message), detail);
  }
}

/** The user's signal and a time limit in one; `cause` tells the second from the first. */
class Deadline {
  readonly signal: AbortSignal;
  readonly #late = new AbortController();
  readonly #timer: NodeJS.Timeout;

  constructor(signal: AbortSignal, ms: number) {
    this.signal = AbortSignal.any([signal, this.#late.signal]);
    this.#timer = setTimeout(() => {
      this.#late.abort(new Error(`the answer was not complete after ${ms / 1000} s`));
    }, ms);
  }

  get cause(): Error | undefined {
    return this.#late.signal.aborted ? (this.#late.signal.reason as Error) : undefined;
  }

  clear(): void {
    clearTimeout(this.#timer);
  }
}

/** Undefined where it is no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** What a server says, on one line of bounded length. */
function bounded(text: string): string {
  return neutral(text.slice(0, MESSAGE_LENGTH));
}
