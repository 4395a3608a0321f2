import type { Clock } from './clock.ts';

/** Lets one through in each interval and counts the rest: a log must not grow with the speed of a fault. */
export class Throttle {
  readonly #clock: Clock;
  readonly #everyUs: number;
  #last: number | undefined;
  #held = 0;

  constructor(options: { clock: Clock; everyMs: number }) {
    this.#clock = options.clock;
    this.#everyUs = options.everyMs * 1000;
  }

  /** How many were held back since the last one let through, or undefined where this one is held back as well. */
  pass(): number | undefined {
    const now = this.#clock.bootUs();
    if (this.#last !== undefined && now - this.#last < this.#everyUs) {
      this.#held += 1;
      return undefined;
    }
    const held = this.#held;
    this.#last = now;
    this.#held = 0;
    return held;
  }
}
