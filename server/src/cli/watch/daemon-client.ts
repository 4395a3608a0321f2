import { get, type IncomingMessage } from 'node:http';
import type { ApiError } from '../../http/error.ts';
import { TracerError } from '../../support/errors.ts';

export const DEFAULT_URL = 'http://127.0.0.1:10043';

/** A daemon that does not say anything for so long is gone; its streams have a comment each 15 s. */
const SILENCE_MS = 60_000;

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

/** Asks one daemon. What fails is a TracerError that can be shown. */
export class DaemonClient {
  readonly url: string;

  constructor(url: URL) {
    this.url = url.href.replace(/\/+$/, '');
  }

  async json<T>(path: string, signal: AbortSignal): Promise<T> {
    const answer = await this.#ask(path, {}, signal);
    const text = await this.#read(answer);
    if (answer.statusCode !== 200) throw this.#refused(answer, text);
    try {
      return JSON.parse(text) as T;
    } catch {
      throw this.#stranger();
    }
  }

  /** The text of an answer, whatever its status is. */
  async text(path: string, signal: AbortSignal): Promise<string> {
    return this.#read(await this.#ask(path, {}, signal));
  }

  /** Text of the event stream, as it comes. */
  async *stream(path: string, lastEventId: string | undefined, signal: AbortSignal): AsyncGenerator<string> {
    const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
    const answer = await this.#ask(path, headers, signal);
    if (answer.statusCode !== 200) throw this.#refused(answer, await this.#read(answer));
    if (!String(answer.headers['content-type']).startsWith('text/event-stream')) throw this.#stranger();
    try {
      for await (const chunk of answer.setEncoding('utf8')) yield chunk as string;
    } catch (cause) {
      throw this.#unreachable(cause as NodeJS.ErrnoException);
    }
  }

  #ask(path: string, headers: Record<string, string>, signal: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = get(`${this.url}${path}`, { headers, signal, timeout: SILENCE_MS }, resolve);
      request.on('timeout', () => request.destroy(new Error(`no word for ${SILENCE_MS / 1000} s`)));
      request.on('error', (error) => reject(this.#unreachable(error)));
    });
  }

  async #read(answer: IncomingMessage): Promise<string> {
    let text = '';
    try {
      for await (const chunk of answer.setEncoding('utf8')) text += chunk;
    } catch (cause) {
      throw this.#unreachable(cause as NodeJS.ErrnoException);
    }
    return text;
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
    const why = words[error.code ?? ''] ?? error.message;
    return new TracerError('address_unavailable', `no daemon can be reached at ${this.url}: ${why}`, {
      remedy:
        'start it (`vfio-dmabuf-tracer run`), or give its URL: `vfio-dmabuf-tracer watch http://HOST:PORT`',
      cause: error,
    });
  }

  #stranger(): TracerError {
    return new TracerError('address_unavailable', `what answers at ${this.url} is no vfio-dmabuf-tracer`, {
      remedy: 'give the URL of the daemon: its --web.listen-address',
    });
  }

  #refused(answer: IncomingMessage, text: string): TracerError {
    const status = answer.statusCode ?? 0;
    let body: Partial<ApiError> = {};
    try {
      body = JSON.parse(text) as Partial<ApiError>;
    } catch {
      // Told below: what does not answer as our daemon does is none.
    }
    if (body.error?.message === undefined) return this.#stranger();
    const { message, hint } = body.error;
    const detail = hint === null ? {} : { remedy: hint };
    // What the user asked for is wrong and stays wrong; all else may pass.
    return new TracerError(status === 400 ? 'bad_usage' : 'address_unavailable', message, detail);
  }
}
