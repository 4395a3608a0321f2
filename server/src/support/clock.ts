import { uptime } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';

/** Time as the program sees it; tests hand in a fake one. */
export interface Clock {
  /** Wall clock, milliseconds since 1970. */
  wallMs(): number;
  /** CLOCK_BOOTTIME in microseconds: the clock of every `t` in the stream, untouched by steps of the wall clock. */
  bootUs(): number;
  /** Resolves after `ms`, or at once and without an error when the signal is aborted. */
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
