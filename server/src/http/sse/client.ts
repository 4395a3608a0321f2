import type { ServerResponse } from 'node:http';
import type { TracerEvent } from '../../contract/events.ts';
import type { EventLog } from '../../sinks/event-log.ts';

export interface Subscription {
  matches: (event: TracerEvent) => boolean;
  /** The last event that the client read; undefined: send only events from now on. */
  position: { log: string; seq: number } | undefined;
}

export interface StreamClientOptions {
  log: EventLog;
  response: ServerResponse;
  subscription: Subscription;
  onDropped: (count: number) => void;
  /** Called when the client can write: it asks the hub to call `pump`. */
  onReady: () => void;
  /** Called before the client is dropped, because its socket has not drained for STALLED_BEATS heartbeats. */
  onStalled: () => void;
}

/** Events read from the log at a time. This bounds the memory used for a client that is far behind. */
const BATCH = 100;
/** Drops a client that has not drained for this many heartbeats. */
const STALLED_BEATS = 4;

/** One client: a cursor into the event log that advances only as fast as its socket drains. */
export class StreamClient {
  readonly #options: StreamClientOptions;
  #cursor = 0;
  #blocked = false;
  #blockedBeats = 0;
  #ended = false;

  constructor(options: StreamClientOptions) {
    this.#options = options;
  }

  start(): void {
    const { log, response, subscription, onReady } = this.#options;
    response.on('drain', () => {
      this.#blocked = false;
      this.#blockedBeats = 0;
      onReady();
    });
    // A reset connection emits `close` too; without a listener `error` would end the process.
    response.on('error', () => response.destroy());
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    });
    const { position } = subscription;
    const known = position !== undefined && position.log === log.id && position.seq <= log.newest;
    if (position === undefined) this.#cursor = log.newest;
    // A position from another log says nothing about this one: start at the oldest event, and report no dropped events.
    else this.#cursor = known ? position.seq : log.oldest - 1;
    // An id without data: a client that is disconnected before the first event can still resume here.
    this.#write(`retry: 3000\nid: ${log.id}.${this.#cursor}\n: stream of log ${log.id}\n\n`);
    if (position !== undefined && !known) {
      this.#write(message('reset', `${log.id}.${this.#cursor}`, { log: log.id, oldest: log.oldest }));
    }
    onReady();
  }

  /** Writes one batch of new events. @returns whether there is more to write and the socket is not blocked */
  pump(): boolean {
    const { log, subscription, onDropped } = this.#options;
    if (!this.#hasMore()) return false;
    const page = log.read(this.#cursor, BATCH, subscription.matches);
    let text = '';
    if (page.dropped > 0) {
      onDropped(page.dropped);
      const count = { count: page.dropped, oldest: log.oldest };
      text += message('dropped', `${log.id}.${log.oldest - 1}`, count);
    }
    for (const event of page.events) text += message(event.kind, `${log.id}.${event.seq}`, event);
    this.#cursor = page.next;
    if (text !== '') this.#write(text);
    return this.#hasMore();
  }

  /** Keeps proxies from closing an idle stream, and drops a client whose socket does not drain. */
  beat(): void {
    if (!this.#blocked) {
      this.#write(': alive\n\n');
      return;
    }
    this.#blockedBeats += 1;
    if (this.#blockedBeats < STALLED_BEATS || this.#options.response.destroyed) return;
    this.#options.onStalled();
    this.#options.response.destroy();
  }

  /** Writes until the socket blocks, then ends the stream. May be called twice. */
  end(): void {
    while (this.pump());
    if (this.#ended) return;
    this.#ended = true;
    const { response } = this.#options;
    // Waiting for a blocked socket to drain would delay the shutdown.
    if (this.#blocked) response.destroy();
    else response.end();
  }

  #hasMore(): boolean {
    return !this.#blocked && !this.#ended && this.#cursor < this.#options.log.newest;
  }

  #write(text: string): void {
    if (this.#ended || this.#options.response.destroyed) return;
    if (!this.#options.response.write(text)) this.#blocked = true;
  }
}

function message(event: string, id: string, data: unknown): string {
  return `event: ${event}\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`;
}
