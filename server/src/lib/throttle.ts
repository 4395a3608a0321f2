import type { Clock } from './clock.ts';

/** Passes one call per interval and counts the rest, so that a frequent fault does not flood the log. */
export class Throttle {
  readonly #clock: Clock;
  readonly #everyUs: number;
  #last: number | undefined;
  #suppressed = 0;

  constructor(options: { clock: Clock; everyMs: number }) {
    this.#clock = options.clock;
    this.#everyUs = options.everyMs * 1000;
  }

  /** The number of calls suppressed since the last one that passed; undefined if this call is suppressed too. */
  pass(): number | undefined {
    const now = this.#clock.bootUs();
    if (this.#last !== undefined && now - this.#last < this.#everyUs) {
      this.#suppressed += 1;
      return undefined;
    }
    const suppressed = this.#suppressed;
    this.#last = now;
    this.#suppressed = 0;
    return suppressed;
  }
}
