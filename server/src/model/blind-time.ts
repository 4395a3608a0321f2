/** Blind time as reported by the stream, in microseconds. It never decreases and counts no moment twice. */
export class BlindTime {
  #closed = 0;
  #from: number | null = null;
  #until = 0;

  get micros(): number {
    return this.#closed + (this.#from === null ? 0 : this.#until - this.#from);
  }

  /** Blind since `from`. Does nothing if a blind period is already open. */
  open(from: number): void {
    if (this.#from !== null) return;
    this.#from = Math.max(from, this.#until);
    this.#until = this.#from;
  }

  /** Still blind at `t`. */
  advance(t: number): void {
    if (this.#from !== null) this.#until = Math.max(this.#until, t);
  }

  /** No longer blind from `t` on. */
  close(t: number): void {
    this.advance(t);
    this.#closed = this.micros;
    this.#from = null;
  }
}
