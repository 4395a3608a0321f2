import type { Clock } from '../lib/clock.ts';

/** Smaller differences are not a step: the clocks are read with an error of about 1 ms. A leap second is a step. */
const STEP_US = 500_000;
const READ_US = 50_000;

/** Detects steps of the wall clock: by hand, or by NTP. */
export class WallClock {
  readonly #clock: Clock;
  /** Wall clock at t = 0, as last reported, in microseconds since 1970. */
  #epochUs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The wall clock at t = 0 in microseconds since 1970, for the header. `t` is the time of the reading. */
  start(): { t: number; boot_epoch_us: number } {
    const { t, boot_epoch_us } = this.#read();
    this.#epochUs = boot_epoch_us;
    return { t, boot_epoch_us };
  }

  /** The new wall clock at t = 0, if it was stepped since the last call; else null. */
  step(): { t: number; boot_epoch_us: number } | null {
    const { t, boot_epoch_us, exact } = this.#read();
    if (!exact || Math.abs(boot_epoch_us - this.#epochUs) < STEP_US) return null;
    this.#epochUs = boot_epoch_us;
    return { t, boot_epoch_us };
  }

  /** Not `exact` if this process was delayed between the reads of the two clocks. */
  #read(): { t: number; boot_epoch_us: number; exact: boolean } {
    const before = this.#clock.bootUs();
    const wall = Math.round(this.#clock.wallMs() * 1000);
    const t = this.#clock.bootUs();
    return { t, boot_epoch_us: wall - t, exact: t - before < READ_US };
  }
}
