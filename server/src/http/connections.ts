import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Why the server closed a connection that its client wanted to keep. */
export const DROP_REASONS = ['limit', 'slow', 'memory', 'pipelining'] as const;
export type DropReason = (typeof DROP_REASONS)[number];

export interface ConnectionLimits {
  /** Open connections, of all listen addresses together. */
  connections: number;
  /** Requests of one connection that may wait behind the one being answered. */
  waiting: number;
  /** Bytes of answers that no client has taken yet, and of requests that wait, of all connections together. */
  pendingBytes: number;
  /** Sweeps in which an answer must be made and taken. Sweeps are counted and not seconds: a daemon that was busy blames no client. */
  answerSweeps: number;
  /** Milliseconds from one sweep to the next. */
  sweepMs: number;
}

export const DEFAULT_LIMITS: ConnectionLimits = {
  connections: 1024,
  waiting: 16,
  pendingBytes: 64 << 20,
  answerSweeps: 60,
  sweepMs: 500,
};

/** Descriptors that connections leave to the rest of the daemon: bpftrace's pipes, /proc, /sys, recordings, listening sockets. */
const RESERVED_DESCRIPTORS = 128;
const MIN_CONNECTIONS = 16;

/** How many connections a process with this limit of descriptors (RLIMIT_NOFILE) may accept. */
export function connectionLimit(descriptors: number): number {
  return Math.max(MIN_CONNECTIONS, Math.min(DEFAULT_LIMITS.connections, descriptors - RESERVED_DESCRIPTORS));
}

/** Memory that a waiting request takes at most: Node reads no longer header than that. */
const REQUEST_BYTES = 16 << 10;
/** Turns of the event loop for new connections before the next answer: libuv accepts one connection in each turn. */
const MAX_ACCEPT_TURNS = 64;
/** How long a client that got a final error may go on sending. */
const LINGER_MS = 5_000;

const arrivals = new WeakMap<IncomingMessage, number>();

/** When a request was received, in milliseconds of `performance.now()`; it may have waited since. Undefined for an injected one. */
export function arrivalOf(request: IncomingMessage): number | undefined {
  return arrivals.get(request);
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
}

interface Connection {
  readonly socket: Socket;
  /** The request that is being answered or that is in the queue for it. */
  active: Exchange | undefined;
  started: boolean;
  /** Sweeps since it became idle, got a request, or was started to be answered. */
  age: number;
  /** Requests that were sent without waiting for the answer of the active one (pipelining). */
  readonly waiting: Exchange[];
  /** An error that ends the connection, to send after the answers that are under way. */
  finalError: string | undefined;
}

export interface ConnectionsOptions {
  limits: ConnectionLimits;
  /** Answers one request. */
  handle: (request: IncomingMessage, response: ServerResponse) => void;
  /** Requests that get every second turn, such as scrapes: a queue of others delays them by one request at most. */
  isUrgent: (request: IncomingMessage) => boolean;
  onDropped: (reason: DropReason, socket: Socket) => void;
}

/**
 * All connections of the server, and the order in which their requests are answered. Of each connection one request is answered at
 * a time, and of all connections one request in each turn of the event loop. So a connection cannot hold more than one answer in
 * memory, and no client can block the event loop with many requests.
 */
export class Connections {
  readonly dropped: Record<DropReason, number> = { limit: 0, slow: 0, memory: 0, pipelining: 0 };
  readonly #options: ConnectionsOptions;
  /** In the order of their last change from idle to busy or back: the first idle one is idle for the longest time. */
  readonly #connections = new Map<Duplex, Connection>();
  readonly #urgent: Connection[] = [];
  readonly #queue: Connection[] = [];
  #scheduled = false;
  #urgentFirst = false;
  /** A connection was accepted in this turn, so that more of them may wait for that. */
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

  /** Closes the idle connections now and each other one after its last answer. */
  close(): void {
    this.#closing = true;
    for (const { active, socket } of this.#connections.values()) {
      if (active === undefined) socket.destroySoon();
    }
  }

  stop(): void {
    clearInterval(this.#sweeper);
  }

  /** For the event `connection`. At the limit it closes another connection: one that is idle or blocks the others. */
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
    this.#connections.set(socket, {
      socket,
      active: undefined,
      started: false,
      age: 0,
      waiting: [],
      finalError: undefined,
    });
    socket.once('close', () => this.#connections.delete(socket));
  }

  /** For the event `request`. */
  receive(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.#connections.get(request.socket);
    // Node emits the other requests of the bytes that it has read also after the connection was dropped.
    if (connection === undefined || connection.socket.destroyed) return;
    arrivals.set(request, performance.now());
    if (connection.active === undefined) this.#activate(connection, { request, response });
    else if (connection.waiting.length < this.#options.limits.waiting) {
      connection.waiting.push({ request, response });
    } else this.#drop(connection, 'pipelining');
  }

  /** For input that is not a request: sends this answer behind those that are under way, and closes. */
  finish(socket: Duplex, answer: string): void {
    const connection = this.#connections.get(socket);
    if (connection === undefined || !socket.writable || connection.finalError !== undefined) return;
    if (connection.socket.bytesRead === 0) {
      // It has asked for nothing.
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
    // The oldest first, the newest never, however large it is. One started after the last sweep has not had the time to be taken.
    const answering = [...this.#connections.values()].filter(isAnswering);
    for (const connection of answering.slice(0, -1)) {
      if (pending <= pendingBytes || !isOld(connection)) return;
      pending -= pendingOf(connection);
      this.#drop(connection, 'memory');
    }
  }

  /**
   * The connection that is missed least: one that is idle, does not take its answer, or waits for its turn, the oldest of each. One
   * that is new is idle too until its request is read, so it is the last choice.
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

  #drop(connection: Connection, reason: DropReason): void {
    const { socket, active } = connection;
    connection.waiting.length = 0;
    this.#connections.delete(socket);
    this.#count(reason, socket);
    // A reset also discards what the kernel still holds for a client that does not read.
    if (active === undefined) socket.destroy();
    else socket.resetAndDestroy();
  }

  #count(reason: DropReason, socket: Socket): void {
    this.dropped[reason] += 1;
    this.#options.onDropped(reason, socket);
  }

  #touch(connection: Connection): void {
    connection.age = 0;
    this.#connections.delete(connection.socket);
    this.#connections.set(connection.socket, connection);
  }
}

/** Whether its answer has to end in time. One with headers and without an end is an event stream, which the hub watches. */
function isAnswering({ active, started }: Connection): boolean {
  return active !== undefined && started && (!active.response.headersSent || active.response.writableEnded);
}

/** Whether at least one whole sweep has passed since its last change. */
function isOld({ age }: Connection): boolean {
  return age > 1;
}

function pendingOf({ socket, waiting }: Connection): number {
  return socket.writableLength + waiting.length * REQUEST_BYTES;
}

/**
 * Sends a final error. What is still coming is read and discarded for a moment: closing at once would reset the connection, and the
 * client would never see the answer.
 */
function endWith(socket: Socket, answer: string): void {
  socket.end(answer);
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
}
