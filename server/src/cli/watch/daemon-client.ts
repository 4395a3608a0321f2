import { get, type IncomingMessage } from 'node:http';
import { get as getSecurely } from 'node:https';
import { Value } from 'typebox/value';
import { ApiError } from '../../contract/error.ts';
import { bytes as formatBytes } from '../../contract/format.ts';
import { TracerError } from '../../lib/errors.ts';
import { neutral } from '../../lib/neutral.ts';
import type { HttpConfig } from './http-config.ts';

export const DEFAULT_URL = 'http://127.0.0.1:10043';

/** A daemon that sends nothing for this time counts as unreachable. Its streams carry a comment every 15 s. */
const SILENCE_MS = 60_000;
/** Time limit of a complete answer, or of the headers of a stream. It also ends an answer that arrives byte by byte. */
const ANSWER_MS = 60_000;
/** Size limit of an answer, in bytes. 10,000 buffers with ten importers each need less. */
const ANSWER_BYTES = 64 << 20;
/** Size limit of an answer that is not a list, in bytes. */
export const SHORT_ANSWER_BYTES = 4 << 20;
/** Length limit of an error message from a server, in characters. */
const MESSAGE_LENGTH = 500;

/** Codes of OpenSSL for a certificate that no known CA has signed. */
const UNKNOWN_CA = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
];
const REMEDIES: Readonly<Record<string, string>> = {
  // A server with TLS closes a connection without it, and one whose client has no certificate.
  ECONNRESET: 'if the daemon has TLS, write https://, and name certificate and key with --http.config.file',
  EPROTO: 'if the daemon has no TLS, write http://',
  ERR_TLS_CERT_ALTNAME_INVALID:
    'use a name of the certificate, or set tls_config.server_name in the file of --http.config.file',
  ...Object.fromEntries(
    UNKNOWN_CA.map((code) => [code, 'set tls_config.ca_file in the file of --http.config.file']),
  ),
};

/** A compiled schema of the API. It checks 30 MiB in 0.1 s; an uncompiled schema takes seconds. */
export interface Checker<T> {
  Check(value: unknown): value is T;
  Errors(value: unknown): { instancePath: string; message: string }[];
}

export interface DaemonClientOptions {
  /** Size limit of an answer, in bytes. */
  maxBytes?: number;
  /** Time limit of a complete answer, in milliseconds. */
  answerMs?: number;
  /** Credentials, and the CA of the daemon. */
  http?: HttpConfig;
}

/**
 * Parses the base URL of a daemon.
 *
 * @throws TracerError if it is not an http:// or https:// URL of a host, a port and a path
 */
export function daemonUrl(text: string): URL {
  const problem = (why: string, remedy: string) =>
    new TracerError('bad_usage', `${JSON.stringify(text)} is not the URL of a daemon: ${why}`, {
      where: 'command line',
      remedy,
    });
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    throw problem('it does not begin with http:// or https://', `write it like ${DEFAULT_URL}`);
  if (url.username !== '' || url.password !== '') {
    throw problem('it has a user', 'put user and password into the file of --http.config.file');
  }
  if (url.search !== '' || url.hash !== '') {
    throw problem('it has more than a host, a port and a path', `write it like ${DEFAULT_URL}`);
  }
  return url;
}

/**
 * HTTP client of one daemon. Another program may listen at its address, so answers are not trusted: size and time are limited, and
 * each answer is checked against the schema of the API. Each failure is a TracerError for the user.
 */
export class DaemonClient {
  readonly url: string;
  readonly #maxBytes: number;
  readonly #answerMs: number;
  readonly #http: HttpConfig | undefined;

  constructor(url: URL, { maxBytes = ANSWER_BYTES, answerMs = ANSWER_MS, http }: DaemonClientOptions = {}) {
    this.#http = http;
    this.url = url.href.replace(/\/+$/, '');
    this.#maxBytes = maxBytes;
    this.#answerMs = answerMs;
  }

  /**
   * Gets the JSON answer at a path.
   *
   * @throws TracerError if no answer arrives, or if it is an error of the daemon, too long, or does not match the schema
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
    // Locating the error takes much longer than checking, so long answers get no location.
    throw this.unreadable(path, text.length > SHORT_ANSWER_BYTES ? undefined : schema.Errors(value)[0]);
  }

  /** Yields the text of the event stream in chunks. The stream has no end, so the caller must limit what it keeps. */
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

  /** Error: another program answers at the URL. */
  stranger(): TracerError {
    return new TracerError('address_unavailable', `the server at ${this.url} is not a vfio-dmabuf-tracer`, {
      remedy: 'give the URL of the daemon: its --web.listen-address',
    });
  }

  /** Error: the answer does not match the schema that this program knows. */
  unreadable(path: string, found: { instancePath: string; message: string } | undefined): TracerError {
    const where = bounded(`${path.split('?')[0]} ${found?.instancePath ?? ''}`.trim());
    const message = `the answer of ${this.url} cannot be read: ${where}: ${found?.message ?? 'it does not match the schema'}`;
    return new TracerError('address_unavailable', message, {
      remedy: 'use the same version of vfio-dmabuf-tracer as the daemon, or give the URL of a daemon',
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
    const { authorization, tls } = this.#http ?? {};
    return new Promise((resolve, reject) => {
      const ask = this.url.startsWith('https:') ? getSecurely : get;
      const all = authorization === undefined ? headers : { ...headers, authorization };
      const options = { headers: all, signal, timeout: SILENCE_MS, ...tls };
      const request = ask(`${this.url}${path}`, options, resolve);
      request.on('timeout', () => request.destroy(new Error(`no data for ${SILENCE_MS / 1000} s`)));
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
    throw new TracerError(
      'address_unavailable',
      `the answer of ${this.url} is longer than ${formatBytes(maxBytes)}`,
      { remedy: 'ask for less with --device or --state, or give the URL of a daemon' },
    );
  }

  #unreachable(error: NodeJS.ErrnoException): TracerError {
    const texts: Record<string, string> = {
      ECONNREFUSED: 'nothing listens there',
      ECONNRESET: 'the connection was closed',
      ENOTFOUND: 'there is no such host',
      EAI_AGAIN: 'the host name cannot be resolved now',
      EHOSTUNREACH: 'there is no route to that host',
      ETIMEDOUT: 'that host does not answer',
      EPROTO: 'the TLS handshake failed',
      ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
      CERT_HAS_EXPIRED: 'its certificate has expired',
      ...Object.fromEntries(UNKNOWN_CA.map((code) => [code, 'its certificate is not from a known CA'])),
    };
    const why = texts[error.code ?? ''] ?? bounded(error.message);
    const remedy =
      REMEDIES[error.code ?? ''] ??
      'start it (`vfio-dmabuf-tracer run`), or give its URL: `vfio-dmabuf-tracer watch http://HOST:PORT`';
    return new TracerError('address_unavailable', `no daemon can be reached at ${this.url}: ${why}`, {
      remedy,
      cause: error,
    });
  }

  #rejected(status: number, text: string): TracerError {
    if (status === 401) {
      const message =
        this.#http?.authorization === undefined
          ? `the daemon at ${this.url} needs a user and a password`
          : `the daemon at ${this.url} does not accept this user and password`;
      const remedy = 'write basic_auth with username and password_file into the file of --http.config.file';
      return new TracerError('bad_usage', message, { remedy });
    }
    const body = parsed(text);
    // A server without the error format of the daemon is not a daemon. This includes redirects, which are not followed.
    if (!Value.Check(ApiError, body)) return this.stranger();
    const { message, hint } = body.error;
    const detail = hint === null ? {} : { remedy: bounded(hint) };
    // A 400 is an error of the user and permanent. Other errors may be temporary.
    return new TracerError(status === 400 ? 'bad_usage' : 'address_unavailable', bounded(message), detail);
  }
}

/** Combines the signal of the user with a time limit. `cause` is set only if the time limit expired. */
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

/** Parses JSON; undefined if the text is not JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Text of a server as one line of limited length. */
function bounded(text: string): string {
  return neutral(text.slice(0, MESSAGE_LENGTH));
}
