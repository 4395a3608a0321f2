/** Why a splitter dropped a line. */
export type DroppedLine = 'oversized_line' | 'truncated_line';

export interface SplitterOptions {
  onLine: (line: string) => void;
  onDropped?: (why: DroppedLine) => void;
  /** Longest line in bytes, without its line feed. A read of a map with thousands of keys has several 100 KB. */
  limit?: number;
}

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
export const DEFAULT_LINE_LIMIT = 1024 * 1024;

/**
 * Splits chunks of bytes into lines. The lines do not depend on the chunk boundaries. Never buffers more than `limit`
 * bytes: a longer line is dropped whole. A carriage return before the line feed is removed, blank lines are skipped,
 * and bytes that are not UTF-8 become U+FFFD.
 */
export class LineSplitter {
  readonly #onLine: (line: string) => void;
  readonly #onDropped: (why: DroppedLine) => void;
  readonly #limit: number;
  /** The beginning of an incomplete line: the first `#held` bytes are used. */
  #pending = Buffer.alloc(0);
  #held = 0;
  #skipping = false;

  constructor(options: SplitterOptions) {
    this.#onLine = options.onLine;
    this.#onDropped = options.onDropped ?? (() => {});
    this.#limit = options.limit ?? DEFAULT_LINE_LIMIT;
  }

  /** Bytes buffered for an incomplete line; never more than the limit. */
  get heldBytes(): number {
    return this.#held;
  }

  push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, start)) {
      this.#endLine(chunk, start, end);
      start = end + 1;
    }
    if (start < chunk.length) this.#hold(chunk, start, chunk.length);
  }

  /**
   * Call this at the end of the input. A rest without line feed is a truncated line, such as after a crash of the
   * writer.
   */
  end(): void {
    if (this.#skipping) this.#onDropped('oversized_line');
    else if (this.#held > 0) this.#onDropped('truncated_line');
    this.#held = 0;
    this.#skipping = false;
  }

  #endLine(chunk: Buffer, start: number, end: number): void {
    if (this.#skipping || this.#held + end - start > this.#limit) {
      this.#skipping = false;
      this.#held = 0;
      this.#onDropped('oversized_line');
    } else if (this.#held === 0) {
      this.#emit(chunk, start, end);
    } else {
      this.#hold(chunk, start, end);
      const length = this.#held;
      this.#held = 0;
      this.#emit(this.#pending, 0, length);
    }
  }

  #emit(bytes: Buffer, start: number, end: number): void {
    const last = end > start && bytes[end - 1] === CARRIAGE_RETURN ? end - 1 : end;
    const line = bytes.toString('utf8', start, last);
    if (line.trim() !== '') this.#onLine(line);
  }

  #hold(chunk: Buffer, start: number, end: number): void {
    if (this.#skipping) return;
    const held = this.#held + end - start;
    if (held > this.#limit) {
      this.#skipping = true;
      this.#held = 0;
      return;
    }
    if (held > this.#pending.length) {
      const grown = Buffer.allocUnsafe(Math.min(this.#limit, Math.max(held, 2 * this.#pending.length)));
      this.#pending.copy(grown, 0, 0, this.#held);
      this.#pending = grown;
    }
    chunk.copy(this.#pending, this.#held, start, end);
    this.#held = held;
  }
}
