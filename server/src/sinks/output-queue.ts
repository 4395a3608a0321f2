import type { DroppedLine } from '../contract/event-output.ts';
import type { TracerEvent } from '../contract/events.ts';
import { neutralJson } from '../lib/neutral.ts';

export interface OutputQueueOptions {
  /** Name of the event log. Each line has it. */
  log: string;
  /** Most bytes of lines that wait. Beyond it, events are dropped. */
  maxBytes: number;
}

/** Whole lines that are written together. */
export interface Batch {
  bytes: Buffer;
  /** The number of events among the lines. */
  events: number;
}

interface Line {
  text: string;
  bytes: number;
  isEvent: boolean;
}

const BATCH_BYTES = 64 * 1024;

/** Lines that wait to be written, oldest first. A line about dropped events is in the place of these events. */
export class OutputQueue {
  /** Events dropped because the queue was full. */
  dropped = 0;
  readonly #options: OutputQueueOptions;
  readonly #lines: Line[] = [];
  /** Bytes of the lines that wait, with those of the batch. */
  #bytes = 0;
  /** The batch that was taken and is not released. */
  #batch = { bytes: 0, events: 0 };
  /** Events that were dropped since the last line was added. */
  #gap: DroppedLine | null = null;

  constructor(options: OutputQueueOptions) {
    this.#options = options;
  }

  /** The number of events that are not released. */
  get events(): number {
    return this.#batch.events + eventsIn(this.#lines);
  }

  /** Adds an event, or drops it if the queue is full. Returns whether it was added. */
  push(event: TracerEvent): boolean {
    const gap = this.#gap === null ? [] : [lineOf(this.#gap, false)];
    if (this.#add(...gap, lineOf({ log: this.#options.log, ...event }, true))) {
      this.#gap = null;
      return true;
    }
    const { seq, time } = event;
    this.#gap ??= { log: this.#options.log, time, kind: 'dropped', from_seq: seq, to_seq: seq, count: 0 };
    Object.assign(this.#gap, { time, to_seq: seq, count: this.#gap.count + 1 });
    this.dropped += 1;
    return false;
  }

  /** Adds a line that is not an event. */
  pushRecord(record: object): void {
    this.#add(lineOf(record, false));
  }

  /** The next lines, at most 64 KiB unless one line is longer; null if none waits. */
  take(): Batch | null {
    let bytes = 0;
    const count = this.#lines.findIndex((line, index) => {
      bytes += line.bytes;
      return index > 0 && bytes > BATCH_BYTES;
    });
    const lines = this.#lines.splice(0, count < 0 ? this.#lines.length : count);
    if (lines.length === 0) return null;
    const batch = { bytes: Buffer.from(lines.map(({ text }) => text).join('')), events: eventsIn(lines) };
    this.#batch = { bytes: batch.bytes.length, events: batch.events };
    return batch;
  }

  /** The batch was written: there is room for other lines. To be called before the next `take`. */
  release(): void {
    this.#bytes -= this.#batch.bytes;
    this.#batch = { bytes: 0, events: 0 };
    if (this.#gap !== null && this.#add(lineOf(this.#gap, false))) this.#gap = null;
  }

  /** Adds all lines if they fit. */
  #add(...lines: Line[]): boolean {
    const bytes = lines.reduce((sum, line) => sum + line.bytes, 0);
    if (this.#bytes + bytes > this.#options.maxBytes) return false;
    this.#lines.push(...lines);
    this.#bytes += bytes;
    return true;
  }
}

function eventsIn(lines: readonly Line[]): number {
  return lines.filter(({ isEvent }) => isEvent).length;
}

function lineOf(record: object, isEvent: boolean): Line {
  const text = `${neutralJson(JSON.stringify(record))}\n`;
  return { text, bytes: Buffer.byteLength(text), isEvent };
}
