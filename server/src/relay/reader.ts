import type { Writable } from 'node:stream';
import { finished } from 'node:stream';
import { withinDeadline } from '../lib/deadline.ts';
import type { StreamLine } from '../protocol/stream-line.ts';
import type { CollectorLine } from '../protocol/wire.ts';
import { MissedLines } from './missed-lines.ts';
import type { StreamState } from './stream-state.ts';

export interface ReaderOptions {
  /** Where the lines go: a pipe or a socket. The reader ends it. */
  sink: Writable;
  /** Id of the stream. */
  stream: string;
  state: StreamState;
  bootUs: () => number;
  /** Most bytes that wait for the sink; beyond that lines are dropped. Default 8 MiB. */
  maxPendingBytes?: number;
  /** Called when the buffers may be inexact for this reader: a snapshot is needed. */
  onResync: () => void;
  /** Called for each line that is dropped. */
  onDropped: (isEvent: boolean) => void;
  /** Called after a gap with the number of dropped lines. */
  onGap: (lines: number) => void;
  /** Called once, when the sink has ended or failed. */
  onEnd: (error: Error | undefined) => void;
}

const DEFAULT_PENDING_BYTES = 8 * 1024 * 1024;
/** The most bytes that are passed to the sink before it has written them. */
const CHUNK_BYTES = 64 * 1024;

/**
 * One reader of the stream. `write` never blocks and never throws. If the sink is too slow, lines are dropped until less
 * than half of the queue is used. Then the reader gets what it needs to know about them, and continues.
 */
export class Reader {
  readonly #options: ReaderOptions;
  readonly #maxPendingBytes: number;
  /** Bytes of the lines that it got when it joined: the limit is higher by them. */
  #joinedBytes = 0;
  /** Lines that wait, from `#first` on. They are shared with other readers, so they take no memory of their own. */
  #queue: string[] = [];
  #first = 0;
  #pendingBytes = 0;
  #isScheduled = false;
  #isWriting = false;
  #isEnding = false;
  #hasEnded = false;
  /** What was dropped since the queue was full; null while nothing is dropped. */
  #missed: MissedLines | null = null;
  /** Number of the next line of the stream. */
  #next: number;
  readonly #ended: Promise<void>;

  /** @param next number of the first line that will be written */
  constructor(options: ReaderOptions, next: number) {
    this.#options = options;
    this.#maxPendingBytes = options.maxPendingBytes ?? DEFAULT_PENDING_BYTES;
    this.#next = next;
    this.#ended = new Promise((resolve) => {
      finished(options.sink, { readable: false }, (error) => {
        this.#hasEnded = true;
        this.#queue = [];
        this.#pendingBytes = 0;
        options.onEnd(error ?? undefined);
        resolve();
      });
    });
  }

  /** Bytes that wait for the sink. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /**
   * Queues the lines that this reader does not know yet: a header, unless it continues, and the state.
   *
   * @param missed lines that it asked for and that are not kept any more
   */
  join(header: string | null, state: readonly string[], missed: number): void {
    if (header !== null) this.#push(header);
    this.#push(this.#joined(state.length, missed));
    for (const line of state) this.#push(line);
  }

  /** Queues lines of before, which this reader continues with, and the line that reports their numbers. */
  resume(lines: readonly string[]): void {
    this.#push(this.#joined(0, 0));
    for (const line of lines) this.#push(line);
    this.#next += lines.length;
  }

  /** The reader has joined: what waits for the sink now does not count for the limit. */
  begin(): void {
    this.#joinedBytes = this.#pendingBytes;
  }

  /** Queues the next line of the stream, or drops it. */
  write(line: StreamLine): void {
    if (this.#hasEnded || this.#isEnding) return;
    this.#resync();
    const bytes = sizeOf(line.raw);
    const fits =
      this.#pendingBytes === 0 || this.#pendingBytes + bytes <= this.#maxPendingBytes + this.#joinedBytes;
    this.#next += 1;
    if (this.#missed === null && fits) {
      this.#push(line.raw);
      // It joined before the stream began.
      if (line.record.type === 'header') this.#push(this.#joined(0, 0));
      return;
    }
    this.#missed ??= new MissedLines({ limit: this.#maxPendingBytes / 2, bootUs: this.#options.bootUs });
    const events = this.#missed.events;
    this.#missed.add(line);
    this.#options.onDropped(this.#missed.events > events);
  }

  /** Queues a line that belongs to this reader only, or that was written before it joined. */
  #push(raw: string): void {
    this.#queue.push(raw);
    this.#pendingBytes += sizeOf(raw);
    if (this.#isScheduled || this.#isWriting) return;
    this.#isScheduled = true;
    // All lines of one turn of the event loop become one write.
    setImmediate(() => {
      this.#isScheduled = false;
      this.#flush();
    });
  }

  /**
   * Writes all lines that wait and ends the sink. Destroys it if that takes longer than `ms` milliseconds. May be called
   * twice, never rejects.
   */
  async stop(ms: number): Promise<void> {
    if (!this.#isEnding) {
      this.#isEnding = true;
      this.#reportMissed();
      this.#flush();
    }
    if (await withinDeadline(this.#ended, ms)) return;
    this.#options.sink.destroy();
    await this.#ended;
  }

  #flush(): void {
    if (this.#isWriting || this.#hasEnded) return;
    const { sink } = this.#options;
    const lines: string[] = [];
    let bytes = 0;
    while (this.#first < this.#queue.length && bytes < CHUNK_BYTES) {
      const line = this.#queue[this.#first] as string;
      this.#first += 1;
      lines.push(line);
      bytes += sizeOf(line);
    }
    if (lines.length === 0) {
      if (this.#isEnding) sink.end();
      return;
    }
    // Removes written lines, so that a queue that never becomes empty does not grow.
    if (this.#first * 2 >= this.#queue.length) {
      this.#queue = this.#queue.slice(this.#first);
      this.#first = 0;
    }
    this.#isWriting = true;
    sink.write(`${lines.join('\n')}\n`, (error) => {
      this.#isWriting = false;
      // `finished` reports the error.
      if (error || this.#hasEnded) return;
      this.#pendingBytes -= bytes;
      this.#resync();
      this.#flush();
    });
  }

  #resync(): void {
    if (this.#missed === null || this.#pendingBytes > this.#maxPendingBytes / 2) return;
    this.#reportMissed();
    this.#options.onResync();
  }

  /** Queues what the reader has to know about the lines that were dropped for it. */
  #reportMissed(): void {
    const missed = this.#missed;
    if (missed === null) return;
    this.#missed = null;
    const lines = missed.summary();
    if (missed.incomplete) lines.push(...this.#options.state.facts());
    // The loss line counts the events among them. Without evicted lines, nothing is missed without a count.
    this.join(null, lines, missed.incomplete ? missed.lines : 0);
    this.#options.onGap(missed.lines);
  }

  #joined(state: number, missed: number): string {
    const { stream, bootUs } = this.#options;
    const line: CollectorLine = {
      type: 'joined',
      data: { t: bootUs(), stream, next: this.#next, missed, state },
    };
    return JSON.stringify(line);
  }
}

/** Bytes of a line with its line feed. */
function sizeOf(raw: string): number {
  return Buffer.byteLength(raw) + 1;
}
