import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { TracerError } from '../support/errors.ts';
import type { Logger } from '../support/logger.ts';
import type { App } from './app.ts';
import { answerUnreadable } from './error.ts';

export interface HttpServerOptions {
  app: App;
  /** HOST:PORT each; an empty host is every interface, port 0 any free one. */
  addresses: readonly string[];
  logger: Logger;
}

/** How long a client that was refused may go on sending. */
const LINGER_MS = 5_000;

/** The process part of HTTP: sockets that hand their requests to the app. */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #servers: Server[] = [];
  #stopped: Promise<void> | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
  }

  /** Where it really listens now, as base URLs. */
  get urls(): string[] {
    return this.#servers
      .filter((server) => server.listening)
      .map((server) => {
        const { address, port, family } = server.address() as AddressInfo;
        return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
      });
  }

  /** Listens on all addresses or, with a TracerError, on none. */
  async start(): Promise<void> {
    const { app, addresses, logger } = this.#options;
    await app.ready();
    try {
      for (const text of addresses) {
        const { host, port } = splitAddress(text);
        await this.#listen(text, host, port);
        if (!isLoopback(host)) {
          logger.warn(
            { address: text },
            'listening beyond this host: whoever can reach it reads all it knows',
          );
        }
      }
    } catch (error) {
      await this.stop();
      throw error;
    }
    for (const url of this.urls) logger.info({ url }, 'listening');
  }

  /** Lets no one in, ends the streams, waits for the answers under way. May be called twice. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** Cuts what `stop` still waits for. */
  abandon(): void {
    for (const server of this.#servers) server.closeAllConnections();
  }

  async #stop(): Promise<void> {
    const closed = this.#servers.map(
      (server) =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
        }),
    );
    await this.#options.app.close();
    for (const server of this.#servers) server.closeIdleConnections();
    await Promise.all(closed);
  }

  async #listen(text: string, host: string, port: number): Promise<void> {
    const { app } = this.#options;
    const server = createServer({ keepAliveTimeout: 75_000, requestTimeout: 30_000 }, (request, response) => {
      app.routing(request, response);
    });
    server.maxConnections = 1024;
    server.on('clientError', refuse);
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(listenError(error, text)));
      server.listen(host === '' ? { port } : { host, port }, () => resolve());
    });
    this.#servers.push(server);
  }
}

/**
 * Answers what cannot be read as a request. What is still coming is read and thrown away for a moment: closing at once would
 * reset the connection, and the client would never see the answer.
 */
function refuse(error: NodeJS.ErrnoException, socket: Duplex): void {
  const { _httpMessage: underWay } = socket as Duplex & { _httpMessage?: { headersSent: boolean } | null };
  if (error.code === 'ECONNRESET' || !socket.writable) return;
  // Within an answer that has begun, nobody could tell the two apart.
  if (underWay?.headersSent === true) {
    socket.destroy();
    return;
  }
  socket.end(answerUnreadable(error));
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
}

export function splitAddress(text: string): { host: string; port: number } {
  const colon = text.lastIndexOf(':');
  const host = text.slice(0, colon);
  return { host: host.startsWith('[') ? host.slice(1, -1) : host, port: Number(text.slice(colon + 1)) };
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function listenError(error: NodeJS.ErrnoException, text: string): TracerError {
  const known: Record<string, readonly [string, string]> = {
    EADDRINUSE: ['another program listens there', 'stop it, or choose another --web.listen-address'],
    EACCES: ['this user may not listen there', 'choose a port above 1023 with --web.listen-address'],
    EADDRNOTAVAIL: ['this host has no such address', 'choose an address of this host, see `ip address`'],
    ENOTFOUND: ['this name has no address', 'give --web.listen-address a numeric address'],
  };
  const [why, remedy] = known[error.code ?? ''] ?? [error.message, 'choose another --web.listen-address'];
  return new TracerError('address_unavailable', `cannot listen on ${text}: ${why}`, {
    where: 'web.listen-address',
    remedy,
    cause: error,
  });
}
