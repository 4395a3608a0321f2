import { uptime } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';

/** The clocks of the program. Tests pass in a fake one. */
export interface Clock {
  /** Wall clock, milliseconds since 1970. */
  wallMs(): number;
  /** CLOCK_BOOTTIME in microseconds: the clock of each `t` in the stream. Steps of the wall clock do not affect it. */
  bootUs(): number;
  /** Resolves after `ms`, or when the signal is aborted. Does not reject then. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  bootUs: () => Math.round(uptime() * 1e6),
  sleep: async (ms, signal) => {
    try {
      await wait(ms, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      if (signal?.aborted !== true) throw error;
    }
  },
};
