import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Why the server dropped a connection that its client had not closed. */
export const DROP_REASONS = ['limit', 'slow', 'memory', 'pipelining', 'tls'] as const;
export type DropReason = (typeof DROP_REASONS)[number];

export interface ConnectionLimits {
  /** Open connections, over all listen addresses. */
  connections: number;
  /** Pipelined requests of one connection that may wait behind its active request. */
  waiting: number;
  /** Bytes of unsent answers and of waiting requests, over all connections. */
  pendingBytes: number;
  /**
   * Sweeps within which an answer must be produced and sent to the client. The unit is sweeps, not seconds: while the
   * daemon is too busy to sweep, no client is dropped for it.
   */
  answerSweeps: number;
  /** Milliseconds between sweeps. */
  sweepMs: number;
}

export const DEFAULT_LIMITS: ConnectionLimits = {
  connections: 1024,
  waiting: 16,
  pendingBytes: 64 << 20,
  answerSweeps: 60,
  sweepMs: 500,
};

/** Descriptors reserved for the rest of the daemon: bpftrace's pipes, /proc, /sys, recordings, listening sockets. */
const RESERVED_DESCRIPTORS = 128;
const MIN_CONNECTIONS = 16;

/** The connection limit of a process with this descriptor limit (RLIMIT_NOFILE). */
export function connectionLimit(descriptors: number): number {
  return Math.max(MIN_CONNECTIONS, Math.min(DEFAULT_LIMITS.connections, descriptors - RESERVED_DESCRIPTORS));
}

/** The most memory that a waiting request uses, in bytes: Node's limit for the request header. */
const REQUEST_BYTES = 16 << 10;
/** The most event loop turns in a row that only accept connections. libuv accepts one connection per turn. */
const MAX_ACCEPT_TURNS = 64;
/** Milliseconds for which the server still reads from a client that got a final error. */
const LINGER_MS = 5_000;

const arrivals = new WeakMap<IncomingMessage, number>();

/**
 * When a request was received, in milliseconds of `performance.now()`. Its answer may have started later. Undefined for
 * an injected request.
 */
export function arrivalOf(request: IncomingMessage): number | undefined {
  return arrivals.get(request);
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
}

interface Connection {
  /** The TCP connection. */
  readonly transport: Socket;
  /** What carries the requests: the TCP connection, or after the handshake TLS over it. */
  socket: Socket;
  /** The request that is being answered or is queued for an answer. */
  active: Exchange | undefined;
  started: boolean;
  /** Sweeps since the connection became idle, got a request, or since its answer was started. */
  age: number;
  /** Requests that the client sent before it got the answer to the active one (pipelining). */
  readonly waiting: Exchange[];
  /** An error that ends the connection. It is sent after the pending answers. */
  finalError: string | undefined;
}

export interface ConnectionsOptions {
  limits: ConnectionLimits;
  /** Answers one request. */
  handle: (request: IncomingMessage, response: ServerResponse) => void;
  /** Requests that get every second turn, such as scrapes. Other requests delay them by at most one request. */
  isUrgent: (request: IncomingMessage) => boolean;
  /** `why`: more about the reason `tls`. */
  onDropped: (reason: DropReason, socket: Socket, why?: string) => void;
}

/**
 * All connections of the server. Decides the order in which requests are answered: one request at a time per
 * connection, and one request per event loop turn over all connections. So a connection has at most one answer in
 * memory, and a client that sends many requests cannot block the event loop.
 */
export class Connections {
  readonly dropped: Record<DropReason, number> = {
    limit: 0,
    slow: 0,
    memory: 0,
    pipelining: 0,
    tls: 0,
  };
  readonly #options: ConnectionsOptions;
  /** Ordered by the last change between idle and busy. The first idle connection has been idle longest. */
  readonly #connections = new Map<Duplex, Connection>();
  readonly #urgent: Connection[] = [];
  readonly #queue: Connection[] = [];
  #scheduled = false;
  #urgentFirst = false;
  /** A connection was accepted in this turn: more may be waiting for accept(). */
  #accepted = false;
  #acceptTurns = 0;
  #closing = false;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** Open connections. */
  get size(): number {
    return this.#connections.size;
  }

  start(): void {
    this.#sweeper = setInterval(() => this.#sweep(), this.#options.limits.sweepMs).unref();
  }

  /** Closes idle connections now, and each other connection after its last answer. */
  close(): void {
    this.#closing = true;
    for (const { active, socket } of this.#connections.values()) {
      if (active === undefined) socket.destroySoon();
    }
  }

  stop(): void {
    clearInterval(this.#sweeper);
  }

  /** Handles the event `connection`. At the limit it drops another connection, see #victim. */
  accept(socket: Socket): void {
    this.#accepted = true;
    while (this.#connections.size >= this.#options.limits.connections) {
      const victim = this.#victim();
      if (victim === undefined) {
        this.#count('limit', socket);
        socket.destroy();
        return;
      }
      this.#drop(victim, 'limit');
    }
    const connection: Connection = {
      transport: socket,
      socket,
      active: undefined,
      started: false,
      age: 0,
      waiting: [],
      finalError: undefined,
    };
    this.#connections.set(socket, connection);
    socket.once('close', () => this.#connections.delete(connection.socket));
  }

  /** An accepted connection has completed its handshake: requests arrive on `socket` from now on. */
  secure(transport: Socket, socket: Socket): void {
    const connection = this.#connections.get(transport);
    if (connection === undefined) return;
    this.#connections.delete(transport);
    connection.socket = socket;
    this.#touch(connection);
  }

  /** Closes a connection whose handshake failed, or whose client is not allowed. */
  rejectHandshake(transport: Socket, why: string): void {
    const connection = this.#connections.get(transport);
    if (connection !== undefined) this.#drop(connection, 'tls', why);
  }

  /** Handles the event `request`. */
  receive(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.#connections.get(request.socket);
    // After a drop, Node still emits the other requests that it parsed from the same bytes.
    if (connection === undefined || connection.socket.destroyed) return;
    arrivals.set(request, performance.now());
    if (connection.active === undefined) this.#activate(connection, { request, response });
    else if (connection.waiting.length < this.#options.limits.waiting) {
      connection.waiting.push({ request, response });
    } else this.#drop(connection, 'pipelining');
  }

  /** For input that is not a request: sends this answer after the pending ones, then closes the connection. */
  finish(socket: Duplex, answer: string): void {
    const connection = this.#connections.get(socket);
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    if (!socket.writable || connection.finalError !== undefined) return;
    if (connection.socket.bytesRead === 0) {
      // The client sent nothing, so it expects no answer.
      socket.destroy();
      return;
    }
    connection.finalError = answer;
    if (connection.active === undefined) endWith(connection.socket, answer);
  }

  #activate(connection: Connection, exchange: Exchange): void {
    connection.active = exchange;
    connection.started = false;
    this.#touch(connection);
    exchange.response.once('close', () => this.#answered(connection));
    (this.#options.isUrgent(exchange.request) ? this.#urgent : this.#queue).push(connection);
    this.#schedule();
  }

  #answered(connection: Connection): void {
    const { socket, waiting, finalError } = connection;
    connection.active = undefined;
    if (!this.#connections.has(socket)) return;
    this.#touch(connection);
    const next = waiting.shift();
    if (next !== undefined && socket.writable) this.#activate(connection, next);
    else if (finalError !== undefined) endWith(socket, finalError);
    else if (this.#closing) socket.destroySoon();
  }

  #schedule(): void {
    if (this.#scheduled || this.#urgent.length + this.#queue.length === 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#accepted && this.#acceptTurns < MAX_ACCEPT_TURNS) this.#acceptTurns += 1;
      else {
        this.#acceptTurns = 0;
        this.#answerNext();
      }
      this.#accepted = false;
      this.#schedule();
    });
  }

  #answerNext(): void {
    this.#urgentFirst = !this.#urgentFirst;
    const [first, second] = this.#urgentFirst ? [this.#urgent, this.#queue] : [this.#queue, this.#urgent];
    for (;;) {
      const connection = first.shift() ?? second.shift();
      if (connection === undefined) return;
      const { active, socket } = connection;
      if (active === undefined || socket.destroyed) continue;
      connection.started = true;
      connection.age = 0;
      this.#options.handle(active.request, active.response);
      return;
    }
  }

  #sweep(): void {
    const { answerSweeps, pendingBytes } = this.#options.limits;
    let pending = 0;
    for (const connection of this.#connections.values()) {
      pending += pendingOf(connection);
      connection.age += 1;
      if (connection.age > answerSweeps && isAnswering(connection)) {
        pending -= pendingOf(connection);
        this.#drop(connection, 'slow');
      }
    }
    if (pending <= pendingBytes) return;
    // Drop the oldest first, and never the newest. An answer that started after the last sweep had no time to be sent.
    const answering = [...this.#connections.values()].filter(isAnswering);
    for (const connection of answering.slice(0, -1)) {
      if (pending <= pendingBytes || !isOld(connection)) return;
      pending -= pendingOf(connection);
      this.#drop(connection, 'memory');
    }
  }

  /**
   * Chooses the connection to drop at the limit. The candidates, in this order: idle for a sweep or more, answer not read
   * by the client, waiting for an answer. Within each group it is the oldest. A new connection is the last choice,
   * because it is idle until its request is read.
   */
  #victim(): Connection | undefined {
    const all = [...this.#connections.values()];
    const isIdle = ({ active }: Connection): boolean => active === undefined;
    const isWaiting = ({ active, started }: Connection): boolean =>
      active !== undefined && !started && !this.#options.isUrgent(active.request);
    return (
      all.find((connection) => isIdle(connection) && isOld(connection)) ??
      all.find((connection) => isAnswering(connection) && isOld(connection)) ??
      all.find(isWaiting) ??
      all.find(isIdle)
    );
  }

  #drop(connection: Connection, reason: DropReason, why?: string): void {
    const { socket, transport, active } = connection;
    connection.waiting.length = 0;
    this.#connections.delete(socket);
    this.#count(reason, transport, why);
    // A reset also discards the kernel's send buffer for a client that does not read.
    if (active === undefined) socket.destroy();
    else transport.resetAndDestroy();
  }

  #count(reason: DropReason, socket: Socket, why?: string): void {
    this.dropped[reason] += 1;
    this.#options.onDropped(reason, socket, why);
  }

  #touch(connection: Connection): void {
    connection.age = 0;
    this.#connections.delete(connection.socket);
    this.#connections.set(connection.socket, connection);
  }
}

/**
 * Whether the time limit for answers applies. It does not apply to an event stream (headers sent, not ended): the hub
 * checks that.
 */
function isAnswering({ active, started }: Connection): boolean {
  return active !== undefined && started && (!active.response.headersSent || active.response.writableEnded);
}

/** Whether at least one whole sweep interval has passed since its last change. */
function isOld({ age }: Connection): boolean {
  return age > 1;
}

function pendingOf({ socket, waiting }: Connection): number {
  return socket.writableLength + waiting.length * REQUEST_BYTES;
}

/**
 * Sends a final error, and reads and discards further input for LINGER_MS. Closing with unread input would reset the
 * connection, and the client would lose the answer.
 */
function endWith(socket: Socket, answer: string): void {
  socket.end(answer);
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
}
