import { createServer, type Server, type Socket } from 'node:net';
import type { Logger } from '../lib/logger.ts';
import type { Relay } from './relay.ts';
import { REQUEST_BYTES, type ReaderRequest, readRequest } from './request.ts';
import { listenAt, type SocketFile } from './socket-file.ts';

export interface RelaySocketOptions {
  relay: Relay;
  /** Path of the unix socket. */
  path: string;
  /** Group whose members may connect; null for the group of this process. */
  gid: number | null;
  logger: Pick<Logger, 'info' | 'warn'>;
  /** The most connections at the same time; default 16. */
  maxReaders?: number;
  /** Milliseconds that a reader may take for its request; default 5000. */
  requestMs?: number;
  /** Most bytes that wait for a reader; default 8 MiB. */
  maxPendingBytes?: number;
}

const MAX_READERS = 16;
const REQUEST_MS = 5000;
const LINE_FEED = 0x0a;

/** Serves a relay on a unix socket. Node cannot read who connects: the kernel has checked mode and group of the file. */
export class RelaySocket {
  readonly #options: RelaySocketOptions;
  readonly #server: Server;
  /** Connections that have not sent their request yet. */
  readonly #waiting = new Set<Socket>();
  #file: SocketFile | null = null;
  #connections = 0;

  constructor(options: RelaySocketOptions) {
    this.#options = options;
    const { maxReaders = MAX_READERS, logger } = options;
    // A reader may end its side after the request, such as `echo '{}' | nc -U PATH`.
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    this.#server.maxConnections = maxReaders;
    this.#server.on('drop', () => {
      logger.warn({ limit: maxReaders }, 'rejected a reader: too many are connected');
    });
    this.#server.on('error', (err) => logger.warn({ err }, 'the socket of the collector has failed'));
  }

  /** @throws TracerError `address_unavailable` */
  async start(): Promise<void> {
    const { path, gid } = this.#options;
    this.#file = await listenAt(this.#server, path, gid);
  }

  /** Accepts no more readers, and removes the socket. The connected readers stay: the relay ends them. */
  async stop(): Promise<void> {
    this.#server.close();
    for (const socket of this.#waiting) socket.destroy();
    await this.#file?.remove();
    this.#file = null;
  }

  #accept(socket: Socket): void {
    const { logger, requestMs = REQUEST_MS } = this.#options;
    this.#connections += 1;
    const connection = this.#connections;
    this.#waiting.add(socket);
    let received = Buffer.alloc(0);
    const timer = setTimeout(() => reject('it has sent no request in time'), requestMs);
    const done = (): void => {
      clearTimeout(timer);
      socket.off('data', onData);
      socket.off('end', onEnd);
      socket.off('close', done);
      this.#waiting.delete(socket);
    };
    const reject = (why: string): void => {
      done();
      socket.destroy();
      logger.warn({ connection }, `rejected a reader: ${why}`);
    };
    const onEnd = (): void => reject('it has sent no request');
    const onData = (chunk: Buffer): void => {
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf(LINE_FEED);
      const length = end < 0 ? received.length : end + 1;
      if (length > REQUEST_BYTES) {
        reject('its request is too long');
        return;
      }
      if (end < 0) return;
      const request = readRequest(received.toString('utf8', 0, end));
      if (request === null) {
        reject('its request is not valid');
        return;
      }
      done();
      // Nothing else is read. A reader that leaves is noticed by the next write.
      socket.pause();
      this.#serve(socket, request, connection);
    };
    socket.on('error', () => socket.destroy());
    socket.on('close', done);
    socket.on('end', onEnd);
    socket.on('data', onData);
  }

  #serve(socket: Socket, from: ReaderRequest, connection: number): void {
    const { relay, logger, maxPendingBytes } = this.#options;
    relay.add(socket, {
      from,
      ...(maxPendingBytes === undefined ? {} : { maxPendingBytes }),
      onGap: (lines) =>
        logger.warn({ connection, lines }, 'lines were dropped for a reader that is too slow'),
      onEnd: () => {
        socket.destroy();
        logger.info({ connection, readers: relay.readers }, 'a reader has left');
      },
    });
    logger.info({ connection, readers: relay.readers }, 'a reader has joined');
  }
}
