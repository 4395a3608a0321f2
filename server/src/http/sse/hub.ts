import type { ServerResponse } from 'node:http';
import type { EventLog } from '../../sinks/event-log.ts';
import { StreamClient, type Subscription } from './client.ts';

export interface StreamHubOptions {
  log: EventLog;
  /** Most clients at the same time; default 64. */
  maxClients?: number;
  /** Milliseconds between comments that keep an idle connection alive; default 15 s. */
  heartbeatMs?: number;
}

/** All clients of the event stream. Each reads the event log at its own pace: the log is the one bounded queue. */
export class StreamHub {
  readonly #log: EventLog;
  readonly #maxClients: number;
  readonly #heartbeatMs: number;
  readonly #clients = new Set<StreamClient>();
  #unsubscribe: (() => void) | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  /** Clients that may have events to write. */
  #ready = new Set<StreamClient>();
  #scheduled = false;
  #closed = false;
  /** Events that left the log before a client had read them; the sum over all clients since the start. */
  dropped = 0;
  /** Clients that were rejected because of the limit, and clients that were dropped because they did not drain. */
  rejected = 0;
  stalled = 0;

  constructor(options: StreamHubOptions) {
    this.#log = options.log;
    this.#maxClients = options.maxClients ?? 64;
    this.#heartbeatMs = options.heartbeatMs ?? 15_000;
  }

  get clients(): number {
    return this.#clients.size;
  }

  get full(): boolean {
    return this.#closed || this.#clients.size >= this.#maxClients;
  }

  /** Streams to a client until its connection is closed, by either side. */
  attach(response: ServerResponse, subscription: Subscription): void {
    const { socket } = response.req;
    // Its `close` event may have been emitted already.
    if (socket.destroyed) return;
    const client = new StreamClient({
      log: this.#log,
      response,
      subscription,
      onDropped: (count) => {
        this.dropped += count;
      },
      onReady: () => this.#schedule(client),
      onStalled: () => {
        this.stalled += 1;
        this.#remove(client);
      },
    });
    if (this.#clients.size === 0) this.#listen();
    this.#clients.add(client);
    const leave = (): void => {
      response.off('close', leave);
      socket.off('close', leave);
      this.#remove(client);
    };
    response.once('close', leave);
    // A response that waits behind another one on its connection emits no `close` when the connection is closed.
    socket.once('close', leave);
    client.start();
  }

  /** Ends every stream and accepts no new clients. May be called twice. */
  close(): void {
    this.#closed = true;
    this.#unlisten();
    for (const client of this.#clients) client.end();
  }

  #listen(): void {
    this.#unsubscribe = this.#log.onAppend(() => {
      for (const client of this.#clients) this.#schedule(client);
    });
    this.#heartbeat = setInterval(() => {
      for (const client of this.#clients) client.beat();
    }, this.#heartbeatMs);
  }

  #unlisten(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    clearInterval(this.#heartbeat);
  }

  #remove(client: StreamClient): void {
    this.#ready.delete(client);
    if (this.#clients.delete(client) && this.#clients.size === 0) this.#unlisten();
  }

  #schedule(client?: StreamClient): void {
    if (client !== undefined) this.#ready.add(client);
    if (this.#scheduled || this.#ready.size === 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#pump();
      this.#schedule();
    });
  }

  /** Each client writes one batch per event loop turn, so that scrapes do not wait for clients that are far behind. */
  #pump(): void {
    const ready = this.#ready;
    this.#ready = new Set();
    for (const client of ready) {
      if (client.pump()) this.#ready.add(client);
    }
  }
}
