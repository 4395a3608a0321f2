import type { ServerResponse } from 'node:http';
import type { TracerEvent } from '../../model/schema.ts';
import type { EventLog } from '../../sinks/event-log.ts';
import { StreamClient } from './client.ts';

export interface StreamHubOptions {
  log: EventLog;
  /** Clients at the same time; default 64. */
  maxClients?: number;
  /** Milliseconds between comments that keep an idle connection alive; default 15 s. */
  heartbeatMs?: number;
}

export interface Subscription {
  matches: (event: TracerEvent) => boolean;
  /** Where the client was; undefined begins with what comes from now on. */
  position: { log: string; seq: number } | undefined;
}

/** All clients of the event stream. Each reads the event log at its own pace: the log is the one bounded queue. */
export class StreamHub {
  readonly #log: EventLog;
  readonly #maxClients: number;
  readonly #heartbeatMs: number;
  readonly #clients = new Set<StreamClient>();
  #unsubscribe: (() => void) | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #woken = false;
  #closed = false;
  /** Events that left the log before some client had read them, over all clients since the start. */
  dropped = 0;
  /** Clients that there was no room for, and such as were cut off. */
  refused = 0;
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

  attach(response: ServerResponse, subscription: Subscription): void {
    const client = new StreamClient({
      log: this.#log,
      response,
      subscription,
      onDropped: (count) => {
        this.dropped += count;
      },
      onStalled: () => {
        this.stalled += 1;
      },
    });
    if (this.#clients.size === 0) this.#listen();
    this.#clients.add(client);
    response.once('close', () => {
      this.#clients.delete(client);
      if (this.#clients.size === 0) this.#rest();
    });
    client.start();
  }

  /** Ends every stream; no new client is let in. May be called twice. */
  close(): void {
    this.#closed = true;
    this.#rest();
    for (const client of this.#clients) client.end();
  }

  #listen(): void {
    this.#unsubscribe = this.#log.onAppend(() => this.#wake());
    this.#heartbeat = setInterval(() => {
      for (const client of this.#clients) client.beat();
    }, this.#heartbeatMs);
  }

  #rest(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    clearInterval(this.#heartbeat);
  }

  /** A burst of events is one wake: the clients write it in one go. */
  #wake(): void {
    if (this.#woken) return;
    this.#woken = true;
    setImmediate(() => {
      this.#woken = false;
      for (const client of this.#clients) client.pump();
    });
  }
}
