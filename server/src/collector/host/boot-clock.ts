import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface BootClockOptions {
  procRoot?: string;
  /** Monotonic time in microseconds. */
  monotonicUs?: () => number;
}

const CALIBRATION_US = 25_000;
const RECHECK_US = 1_000_000;

/**
 * Microseconds since boot, comparable to bpftrace's nsecs. /proc/uptime is that clock cut down to 10 ms, so its distance
 * to the monotonic clock is the largest that was ever seen; suspends only let it grow, and the time never goes back.
 */
export function createBootClock(options: BootClockOptions = {}): () => number {
  const { procRoot = '/proc', monotonicUs = () => Number(process.hrtime.bigint() / 1000n) } = options;
  const path = join(procRoot, 'uptime');
  let distance = Number.NEGATIVE_INFINITY;
  const sample = (): number => {
    const seconds = Number.parseFloat(readFileSync(path, 'latin1'));
    const now = monotonicUs();
    if (Number.isFinite(seconds)) distance = Math.max(distance, Math.round(seconds * 1e6) - now);
    return now;
  };
  const begin = sample();
  let checked = begin;
  while (checked - begin < CALIBRATION_US) checked = sample();
  return () => {
    const now = monotonicUs();
    if (now - checked > RECHECK_US) checked = sample();
    return Math.max(0, now + (Number.isFinite(distance) ? distance : 0));
  };
}
