import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { type Clock, systemClock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { Throttle } from '../lib/throttle.ts';
import {
  descriptorError,
  isLoopback,
  isMissing,
  type ListenAddress,
  type Lookup,
  listenError,
  resolveAddresses,
} from './addresses.ts';
import {
  type ConnectionLimits,
  Connections,
  DEFAULT_LIMITS,
  DROP_REASONS,
  type DropReason,
} from './connections.ts';
import { answerUnreadable, answerWithoutRoute } from './error.ts';
import type { App } from './plugin.ts';
import type { LoadedTls } from './web/load.ts';
import { createTlsServer, replaceTls } from './web/tls-server.ts';
import type { WebConfig } from './web/web-config.ts';

export interface HttpServerOptions {
  app: App;
  /** HOST:PORT each. An empty host means every interface, port 0 any free port, a name all its addresses. */
  addresses: readonly string[];
  /** Sockets that already listen. They are served instead of the addresses. */
  descriptors?: readonly number[];
  logger: Logger;
  /** The path of the metrics. A request for it waits for at most one other request. */
  telemetryPath?: string;
  limits?: Partial<ConnectionLimits>;
  /** The web configuration file. Without it the server has no TLS and adds no headers. */
  web?: WebConfig;
  clock?: Clock;
  lookup?: Lookup;
}

/** Milliseconds within which the header of a request must arrive, and the whole request. */
const HEADERS_MS = 10_000;
const REQUEST_MS = 20_000;
const CHECK_MS = 2_000;
/** Milliseconds; longer than a usual scrape interval. */
const KEEP_ALIVE_MS = 75_000;
const LOG_MS = 60_000;

const DROPPED: Readonly<Record<DropReason, string>> = {
  limit: 'closed a connection: the connection limit is reached',
  slow: 'closed a connection: its client did not read an answer in time',
  memory: 'closed a connection: answers that clients have not read exceed the memory limit',
  pipelining: 'closed a connection: its client sent too many requests without waiting for answers',
  tls: 'closed a connection: its TLS handshake failed, or its client is not allowed',
};

/** The sockets. They pass their requests to the app. */
export class HttpServer {
  readonly connections: Connections;
  readonly #options: HttpServerOptions;
  readonly #limits: ConnectionLimits;
  readonly #servers: (Server | TlsServer)[] = [];
  readonly #throttles: Record<DropReason, Throttle>;
  #stopped: Promise<void> | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    const { app, telemetryPath = '/metrics', clock = systemClock } = options;
    this.#throttles = Object.fromEntries(
      DROP_REASONS.map((reason) => [reason, new Throttle({ clock, everyMs: LOG_MS })]),
    ) as Record<DropReason, Throttle>;
    this.connections = new Connections({
      limits: this.#limits,
      handle: (request, response) => {
        const { headers = {} } = options.web?.current.settings ?? {};
        for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
        app.routing(request, response);
      },
      isUrgent: ({ url = '' }: IncomingMessage) =>
        url.split('?', 1)[0] === telemetryPath || url.startsWith('/-/'),
      onDropped: (reason, socket, why) => this.#logDropped(reason, socket, why),
    });
  }

  /** The base URLs of the sockets that listen now. */
  get urls(): string[] {
    return this.#bound().map(({ address, port, family }) => {
      return `${this.#tls === undefined ? 'http' : 'https'}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
    });
  }

  /** Whether only programs on this host can connect. */
  get loopbackOnly(): boolean {
    return this.#bound().every(({ address }) => isLoopback(address));
  }

  /**
   * Listens on all addresses or on none.
   *
   * @throws TracerError if an address cannot be bound
   */
  async start(): Promise<void> {
    const { app, addresses, descriptors, logger, lookup, web } = this.#options;
    if (web !== undefined) {
      web.onChange = ({ tls }) => {
        if (tls === undefined) return;
        for (const server of this.#servers) if (server instanceof TlsServer) replaceTls(server, tls);
      };
    }
    await app.ready();
    try {
      if (descriptors === undefined) await this.#listenOn(await resolveAddresses(addresses, lookup));
      else for (const fd of descriptors) await this.#listenOnDescriptor(fd);
      this.#warnOfExposure();
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.connections.start();
    for (const url of this.urls) logger.info({ url }, 'listening');
  }

  /** Stops accepting connections, ends the streams, and waits for pending answers. May be called twice. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** Closes the connections that `stop` still waits for. */
  abandon(): void {
    for (const server of this.#servers) server.closeAllConnections();
  }

  get #tls(): LoadedTls | undefined {
    return this.#options.web?.current.tls;
  }

  #bound(): AddressInfo[] {
    return this.#servers
      .filter(({ listening }) => listening)
      .map((server) => server.address() as AddressInfo);
  }

  async #stop(): Promise<void> {
    const closed = this.#servers.map(
      (server) =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
        }),
    );
    await this.#options.app.close();
    this.connections.close();
    await Promise.all(closed);
    this.connections.stop();
  }

  /**
   * Opens all sockets. For a name with several addresses, it skips those that this host does not have, but at least one
   * must work.
   */
  async #listenOn(addresses: readonly ListenAddress[]): Promise<void> {
    const served = new Set<string>();
    const missing = new Map<string, NodeJS.ErrnoException>();
    for (const { text, host, port, optional } of addresses) {
      try {
        await this.#listen(host === '' ? { port } : { host, port });
        served.add(text);
      } catch (error) {
        if (!optional || !isMissing(error as NodeJS.ErrnoException)) {
          throw listenError(error as NodeJS.ErrnoException, text);
        }
        missing.set(text, error as NodeJS.ErrnoException);
      }
    }
    for (const [text, error] of missing) {
      if (!served.has(text)) throw listenError(error, text);
      this.#options.logger.warn({ address: text }, 'this host does not have all addresses of this name');
    }
  }

  async #listenOnDescriptor(fd: number): Promise<void> {
    try {
      const server = await this.#listen({ fd });
      if (typeof server.address() === 'object' && server.address() !== null) return;
      throw new TypeError('it is not a TCP socket');
    } catch (cause) {
      throw descriptorError(fd, cause as Error);
    }
  }

  #warnOfExposure(): void {
    const warning = this.#exposure();
    if (warning === undefined) return;
    for (const { address } of this.#bound().filter(({ address }) => !isLoopback(address))) {
      this.#options.logger.warn({ address }, `listening on a non-loopback address ${warning}`);
    }
  }

  /** What a listener on a non-loopback address lacks; undefined if clients must prove who they are, over TLS. */
  #exposure(): string | undefined {
    const { users } = this.#options.web?.current.settings ?? { users: new Map() };
    const verified = this.#tls?.settings.clientAuth === 'RequireAndVerifyClientCert';
    if (users.size === 0 && !verified) {
      return 'without authentication: every client that can connect can read everything';
    }
    return this.#tls === undefined ? 'without TLS: others in the network can read the passwords' : undefined;
  }

  async #listen(where: { host?: string; port: number } | { fd: number }): Promise<Server> {
    const { connections } = this;
    const options = {
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: HEADERS_MS,
      requestTimeout: REQUEST_MS,
      connectionsCheckingInterval: CHECK_MS,
      // The app checks the Host header, and answers with the documented error format.
      requireHostHeader: false,
    };
    const receive: RequestListener = (request, response) => connections.receive(request, response);
    const server =
      this.#tls === undefined
        ? createServer(options, receive)
        : createTlsServer({
            http: options,
            receive,
            handshakeMs: HEADERS_MS,
            current: () => this.#tls as LoadedTls,
            onSecure: (transport, socket) => connections.secure(transport, socket),
            onRejected: (transport, why) => connections.rejectHandshake(transport, why),
          });
    server.on('connection', (socket) => connections.accept(socket));
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (error.code !== 'ECONNRESET')
        connections.finish(socket, answerUnreadable(error, this.#tls !== undefined));
    });
    // Without these listeners Node answers itself without a body, or does not answer.
    server.on('checkExpectation', receive);
    server.on('connect', (_request, socket) => connections.finish(socket, answerWithoutRoute('CONNECT')));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(where, () => resolve());
    });
    this.#servers.push(server);
    return server;
  }

  #logDropped(reason: DropReason, socket: Socket, why: string | undefined): void {
    const suppressed = this.#throttles[reason].pass();
    if (suppressed === undefined) return;
    const { connections: limit } = this.#limits;
    this.#options.logger.warn(
      {
        reason,
        from: socket.remoteAddress,
        not_logged: suppressed,
        ...(reason === 'limit' ? { limit } : {}),
        ...(why === undefined ? {} : { why }),
      },
      DROPPED[reason],
    );
  }
}
