export interface BackOffOptions {
  initialMs: number;
  maxMs: number;
}

/** The pauses between retries: each one is twice as long as the one before, up to a maximum. */
export class BackOff {
  readonly #initialMs: number;
  readonly #maxMs: number;
  #failures = 0;

  constructor({ initialMs, maxMs }: BackOffOptions) {
    this.#initialMs = initialMs;
    this.#maxMs = maxMs;
  }

  /** A try has failed: returns the milliseconds to wait before the next one. */
  next(): number {
    const pause = Math.min(this.#maxMs, this.#initialMs * 2 ** this.#failures);
    this.#failures += 1;
    return pause;
  }

  /** A try has succeeded: the next pause is the initial one. */
  reset(): void {
    this.#failures = 0;
  }
}
