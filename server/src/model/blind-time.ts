/** The time in which nothing was watched, as far as the stream has told. Never shrinks, and counts no moment twice. */
export class BlindTime {
  #closed = 0;
  #from: number | null = null;
  #until = 0;

  get micros(): number {
    return this.#closed + (this.#from === null ? 0 : this.#until - this.#from);
  }

  /** Nothing is watched since `from`; does nothing where that is known already. */
  open(from: number): void {
    if (this.#from !== null) return;
    this.#from = Math.max(from, this.#until);
    this.#until = this.#from;
  }

  /** It is still so at `t`. */
  advance(t: number): void {
    if (this.#from !== null) this.#until = Math.max(this.#until, t);
  }

  /** Watched again from `t` on. */
  close(t: number): void {
    this.advance(t);
    this.#closed = this.micros;
    this.#from = null;
  }
}
