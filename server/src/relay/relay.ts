import { randomBytes } from 'node:crypto';
import type { Writable } from 'node:stream';
import type { StreamLine } from '../protocol/stream-line.ts';
import { NewestLines } from './newest-lines.ts';
import { Reader } from './reader.ts';
import type { ReaderRequest } from './request.ts';
import { StreamState } from './stream-state.ts';

export interface RelayOptions {
  /** Time for the lines that the relay adds, in microseconds since boot. */
  bootUs: () => number;
  /** Called when a reader needs a snapshot: it has joined late, or lines were dropped for it. */
  onResync: () => void;
  /** The most bytes of lines that are kept for readers that return; default 16 MiB. */
  keptBytes?: number;
}

export interface AddOptions {
  /** Where the reader wants to continue; default: it is new. */
  from?: ReaderRequest;
  /** Most bytes that wait for the sink; beyond that lines are dropped. Default 8 MiB. */
  maxPendingBytes?: number;
  /** Called once, when the sink has ended; with the error, if it has failed. */
  onEnd?: (error: Error | undefined) => void;
  /** Called after a gap with the number of lines that were dropped for this reader. */
  onGap?: (lines: number) => void;
}

const KEPT_BYTES = 16 * 1024 * 1024;

/** Passes one stream on to any number of readers. A slow reader delays neither the source nor the others. */
export class Relay {
  /** Random id of the stream. */
  readonly id = randomBytes(12).toString('hex');
  /** Lines that were dropped for slow readers, and events among them; the sum over all readers since the start. */
  readonly dropped = { lines: 0, events: 0 };
  readonly #options: RelayOptions;
  readonly #state = new StreamState();
  readonly #readers = new Set<Reader>();
  readonly #newest: NewestLines;
  #isStopped = false;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#newest = new NewestLines(options.keptBytes ?? KEPT_BYTES);
  }

  /** Number of readers. */
  get readers(): number {
    return this.#readers.size;
  }

  /** Passes the next line of the stream on. Never blocks and never throws. */
  write(line: StreamLine): void {
    this.#state.observe(line);
    this.#newest.add(line.raw);
    for (const reader of this.#readers) reader.write(line);
  }

  /**
   * Adds a reader. A new one gets the header and the current state first, if the stream has begun. One that returns gets
   * the lines since then; or the current state, if they are not kept any more.
   */
  add(sink: Writable, options: AddOptions = {}): Reader {
    const { bootUs, onResync } = this.#options;
    const { from = {}, onEnd = () => {}, onGap = () => {}, ...limits } = options;
    const { next } = this.#newest;
    const since = from.stream === this.id && from.next !== undefined && from.next <= next ? from.next : null;
    const kept = since === null || from.state === true ? null : this.#newest.from(since);
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
        onGap,
        onEnd: (error) => {
          this.#readers.delete(reader);
          onEnd(error);
        },
      },
      kept === null ? next : (since ?? next),
    );
    const { header, isComplete } = this.#state;
    if (kept !== null) reader.resume(kept);
    else if (header !== null) {
      if (since === null) reader.join(header, this.#state.ofNewReader(), isComplete ? 0 : 1);
      // The header of the same stream again would make the model count its losses twice. A reader that has not got all
      // of the last state has missed at least one line.
      else reader.join(null, this.#state.afterGap(), Math.max(1, next - since));
      onResync();
    }
    reader.begin();
    this.#readers.add(reader);
    if (this.#isStopped) sink.end();
    return reader;
  }

  /**
   * Lets all readers read what waits for them, then ends their sinks. Destroys those that take longer than `ms`
   * milliseconds. To be called after the last line.
   */
  async stop(ms = 3000): Promise<void> {
    this.#isStopped = true;
    await Promise.all(Array.from(this.#readers, (reader) => reader.stop(ms)));
  }
}
