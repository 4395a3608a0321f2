import { type StreamLine, streamLine } from '../protocol/stream-line.ts';
import type { ReaderRequest } from './request.ts';

/** How far a reader has got in a stream: what it requests after a lost connection, and what it passes on. */
export class Position {
  #stream: string | null = null;
  /** Number of the next line, and lines of the current state that are still to come. */
  #next = 0;
  #state = 0;
  /** The lines of the current child that were passed on. */
  #children: string[] = [];
  /** The header waits for the line that names its stream. */
  #header: StreamLine | null = null;
  /** A line has named the stream since the connection began. */
  #isNamed = false;

  /** A new connection begins. */
  connect(): void {
    this.#header = null;
    this.#isNamed = false;
  }

  /** The request with which the connection continues here. */
  request(): ReaderRequest {
    if (this.#stream === null) return {};
    return {
      stream: this.#stream,
      next: this.#next,
      // Only a complete state is consistent.
      ...(this.#state === 0 ? {} : { state: true }),
    };
  }

  /** The lines to pass on for this one; null if it is not from a collector. */
  receive(raw: string): StreamLine[] | null {
    const line = streamLine(raw);
    const { record } = line;
    if (record.type === 'joined') {
      const isNew = record.data.stream !== this.#stream;
      if (isNew) this.#children = [];
      if (isNew && this.#header === null) return null;
      const header = this.#header === null || !isNew ? [] : [this.#header];
      this.#header = null;
      this.#isNamed = true;
      this.#stream = record.data.stream;
      this.#next = record.data.next;
      this.#state = record.data.state;
      return [...header, line];
    }
    if (!this.#isNamed) {
      if (record.type !== 'header') return null;
      this.#header = line;
      return [];
    }
    const isState = this.#state > 0;
    this.passed();
    if (record.type !== 'child') return [line];
    // A state repeats the lines of the child. Its start must not come twice: the counts would be added twice.
    if (isState && this.#children.includes(raw)) return [];
    if (record.data.state !== 'changed') this.#children = [];
    this.#children.push(raw);
    return [line];
  }

  /** One line has passed, or was dropped. */
  passed(): void {
    if (!this.#isNamed) return;
    if (this.#state > 0) this.#state -= 1;
    else this.#next += 1;
  }
}
