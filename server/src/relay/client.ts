import { connect, type Socket } from 'node:net';
import { basename } from 'node:path';
import { BackOff, type BackOffOptions } from '../lib/back-off.ts';
import type { Clock } from '../lib/clock.ts';
import { TracerError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { LineSource } from '../protocol/source.ts';
import { type DroppedLine, LineSplitter } from '../protocol/splitter.ts';
import type { StreamLine } from '../protocol/stream-line.ts';
import { Position } from './position.ts';

export interface SocketSourceOptions {
  /** Path of the unix socket of a collector. */
  path: string;
  clock: Pick<Clock, 'sleep'>;
  logger: Pick<Logger, 'info' | 'warn'>;
  /** Pauses between two tries to connect. Default: from 100 ms up to 1 s. */
  retry?: BackOffOptions;
}

const RETRY: BackOffOptions = { initialMs: 100, maxMs: 1000 };

/**
 * Reads the stream of a collector in another process. After a lost connection it connects again, and continues with the
 * next line. While it is not connected it has no lines.
 */
export class SocketSource implements LineSource {
  readonly kind = 'live';
  readonly name: string;
  readonly #options: SocketSourceOptions;
  readonly #position = new Position();
  readonly #backOff: BackOff;
  #wasConnected = false;
  #isConnected = false;

  constructor(options: SocketSourceOptions) {
    this.#options = options;
    this.name = basename(options.path);
    this.#backOff = new BackOff(options.retry ?? RETRY);
  }

  /** Whether the current connection has had a line. */
  get isConnected(): boolean {
    return this.#isConnected;
  }

  /**
   * Runs until the signal is aborted.
   *
   * @throws TracerError `file_unreadable` if this user may not connect; `bad_recording` if it is not a collector
   */
  async run(
    onLine: (line: StreamLine) => void,
    signal: AbortSignal,
    onDropped: (why: DroppedLine) => void = () => {},
  ): Promise<void> {
    const { clock, logger, path } = this.#options;
    let isReported = false;
    while (!signal.aborted) {
      const { reason, connected } = await this.#connection(onLine, onDropped, signal);
      if (signal.aborted) return;
      if (connected) {
        isReported = false;
        logger.warn({ socket: path }, `the connection to the collector is lost: ${reason}; retrying`);
      } else if (!isReported) {
        isReported = true;
        logger.warn({ socket: path }, `the collector does not answer: ${reason}; retrying`);
      }
      await clock.sleep(this.#backOff.next(), signal);
    }
  }

  /** Reads from one connection until it ends. Resolves with the reason, and whether it got a line. */
  #connection(
    onLine: (line: StreamLine) => void,
    onDropped: (why: DroppedLine) => void,
    signal: AbortSignal,
  ): Promise<{ reason: string; connected: boolean }> {
    const { logger, path } = this.#options;
    const position = this.#position;
    return new Promise((resolve, reject) => {
      let connected = false;
      let reason = 'the collector has ended';
      const socket: Socket = connect(path);
      const stop = (): void => void socket.destroy();
      signal.addEventListener('abort', stop, { once: true });
      const fail = (error: unknown): void => {
        reject(error);
        socket.destroy();
      };
      const splitter = new LineSplitter({
        onLine: (raw) => {
          if (signal.aborted || socket.destroyed) return;
          const lines = position.receive(raw);
          if (lines === null) return fail(notACollector(path));
          if (!connected) {
            connected = true;
            this.#isConnected = true;
            this.#wasConnected = true;
            this.#backOff.reset();
            logger.info({ socket: path }, 'connected to the collector');
          }
          for (const line of lines) onLine(line);
        },
        onDropped: (why) => {
          position.passed();
          onDropped(why);
        },
      });
      position.connect();
      socket.on('connect', () => socket.write(`${JSON.stringify(position.request())}\n`));
      socket.on('data', (chunk: Buffer) => {
        try {
          splitter.push(chunk);
        } catch (error) {
          fail(error);
        }
      });
      socket.on('error', (error: NodeJS.ErrnoException) => {
        reason = error.code ?? error.message;
        if (!this.#wasConnected && error.code === 'EACCES') fail(notAllowed(path, error));
      });
      socket.on('close', () => {
        signal.removeEventListener('abort', stop);
        this.#isConnected = false;
        // The rest of an incomplete line is requested again.
        resolve({ reason, connected });
      });
    });
  }
}

function notAllowed(where: string, cause: Error): TracerError {
  return new TracerError('file_unreadable', 'this user may not connect to the collector', {
    where,
    remedy: 'add the user to the group of the socket, or choose its group with `collect --collector.group`',
    cause,
  });
}

function notACollector(where: string): TracerError {
  return new TracerError('bad_recording', 'what answers on this socket is not a collector of this version', {
    where,
    remedy: 'give the socket of `vfio-dmabuf-tracer collect`, and use the same version for both',
  });
}
