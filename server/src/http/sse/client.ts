import type { ServerResponse } from 'node:http';
import type { EventLog } from '../../sinks/event-log.ts';
import type { Subscription } from './hub.ts';

export interface StreamClientOptions {
  log: EventLog;
  response: ServerResponse;
  subscription: Subscription;
  onDropped: (count: number) => void;
  /** Its socket takes more: it wants its turn. */
  onReady: () => void;
  /** It is closed, because it has taken nothing for some heartbeats. */
  onStalled: () => void;
}

/** Events read from the log at a time, so that a client far behind does not fill memory at once. */
const BATCH = 100;
/** Drops a client that has not drained for this many heartbeats. */
const STALLED_BEATS = 4;

/** One reader: a cursor into the event log that moves only as fast as its socket takes the bytes. */
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
    // Of another log it was owed nothing here: it starts at the oldest event, without a gap.
    else this.#cursor = known ? position.seq : log.oldest - 1;
    // An id without data: whoever is cut off before the first event knows where to go on.
    this.#write(`retry: 3000\nid: ${log.id}.${this.#cursor}\n: stream of log ${log.id}\n\n`);
    if (position !== undefined && !known) {
      this.#write(message('reset', `${log.id}.${this.#cursor}`, { log: log.id, oldest: log.oldest }));
    }
    onReady();
  }

  /** Writes one batch of what is new. @returns whether there is more that the socket would take now. */
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

  /** Keeps proxies from closing an idle stream, and notices a client that is gone. */
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

  /** Writes what the socket still takes, and ends. May be called twice. */
  end(): void {
    while (this.pump());
    if (this.#ended) return;
    this.#ended = true;
    const { response } = this.#options;
    // What a blocked socket has not taken by now would hold up the stop.
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
