/** The newest lines of a stream, up to a number of bytes, by their numbers. */
export class NewestLines {
  readonly #limit: number;
  #lines: string[] = [];
  #first = 0;
  #bytes = 0;
  /** Number of the oldest line that is kept, and of the next line. */
  #oldest = 0;
  #next = 0;

  /** @param limit the most bytes that are kept */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Number of the next line. */
  get next(): number {
    return this.#next;
  }

  add(raw: string): void {
    this.#lines.push(raw);
    this.#bytes += raw.length;
    this.#next += 1;
    while (this.#bytes > this.#limit) {
      this.#bytes -= (this.#lines[this.#first] as string).length;
      this.#first += 1;
      this.#oldest += 1;
    }
    if (this.#first * 2 < this.#lines.length) return;
    this.#lines = this.#lines.slice(this.#first);
    this.#first = 0;
  }

  /** The lines from this number on; null if one of them is not kept any more, or if the number is in the future. */
  from(number: number): string[] | null {
    if (number < this.#oldest || number > this.#next) return null;
    return this.#lines.slice(this.#first + number - this.#oldest);
  }
}
