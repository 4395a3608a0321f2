import { randomBytes } from 'node:crypto';
import type { Writable } from 'node:stream';
import type { StreamLine } from '../protocol/stream-line.ts';
import { Reader } from './reader.ts';
import { StreamState } from './stream-state.ts';

export interface RelayOptions {
  /** Time for the lines that the relay adds, in microseconds since boot. */
  bootUs: () => number;
  /** Called when a reader needs a snapshot: it has joined late, or lines were dropped for it. */
  onResync: () => void;
}

export interface AddOptions {
  /** Most bytes that wait for the sink; beyond that lines are dropped. Default 8 MiB. */
  maxPendingBytes?: number;
  /** Called once, when the sink has ended; with the error, if it has failed. */
  onEnd?: (error: Error | undefined) => void;
}

/** Passes one stream on to any number of readers. A slow reader delays neither the source nor the others. */
export class Relay {
  /** Random id of the stream. */
  readonly id = randomBytes(12).toString('hex');
  /** Lines that were dropped for slow readers, and events among them; the sum over all readers since the start. */
  readonly dropped = { lines: 0, events: 0 };
  readonly #options: RelayOptions;
  readonly #state = new StreamState();
  readonly #readers = new Set<Reader>();
  /** Number of the next line. */
  #next = 0;
  #isStopped = false;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  /** Number of readers. */
  get readers(): number {
    return this.#readers.size;
  }

  /** Passes the next line of the stream on. Never blocks and never throws. */
  write(line: StreamLine): void {
    this.#state.observe(line);
    this.#next += 1;
    for (const reader of this.#readers) reader.write(line);
  }

  /** Adds a reader. It gets the header and the current state first, if the stream has begun. */
  add(sink: Writable, options: AddOptions = {}): Reader {
    const { bootUs, onResync } = this.#options;
    const { onEnd = () => {}, ...limits } = options;
    const reader: Reader = new Reader(
      {
        ...limits,
        sink,
        stream: this.id,
        state: this.#state,
        bootUs,
        onResync,
        onDropped: (isEvent) => {
          this.dropped.lines += 1;
          if (isEvent) this.dropped.events += 1;
        },
        onEnd: (error) => {
          this.#readers.delete(reader);
          onEnd(error);
        },
      },
      this.#next,
    );
    const [header, ...state] = this.#state.lines();
    if (header !== undefined) {
      reader.join(header, state, 0);
      onResync();
    }
    this.#readers.add(reader);
    if (this.#isStopped) sink.end();
    return reader;
  }

  /**
   * Lets all readers read what waits for them, then ends their sinks. Destroys those that take longer than `ms`
   * milliseconds. To be called after the last line.
   */
  async stop(ms: number): Promise<void> {
    this.#isStopped = true;
    await Promise.all(Array.from(this.#readers, (reader) => reader.stop(ms)));
  }
}
