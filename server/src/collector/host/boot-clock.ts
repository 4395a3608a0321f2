import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { join } from 'node:path';
import type { OnHostError } from './host-errors.ts';

export interface BootClockOptions {
  procRoot?: string;
  /** Monotonic time in microseconds. */
  monotonicUs?: () => number;
  onError?: OnHostError;
}

const CALIBRATION_US = 25_000;
const RECHECK_US = 1_000_000;

/**
 * Microseconds since boot, comparable to bpftrace's nsecs. /proc/uptime is that clock cut down to 10 ms, so its distance
 * to the monotonic clock is the largest that was ever seen; suspends only let it grow, and the time never goes back. Where the
 * file cannot be read, the last distance is kept; at the start the system call behind os.uptime() gives it to the second.
 */
export function createBootClock(options: BootClockOptions = {}): () => number {
  const { procRoot = '/proc', monotonicUs = () => Number(process.hrtime.bigint() / 1000n) } = options;
  const { onError = () => {} } = options;
  const path = join(procRoot, 'uptime');
  let distance = Number.NEGATIVE_INFINITY;
  const sample = (): number => {
    const seconds = readSeconds(path, onError);
    const now = monotonicUs();
    if (Number.isFinite(seconds)) distance = Math.max(distance, Math.round(seconds * 1e6) - now);
    return now;
  };
  const begin = sample();
  let checked = begin;
  while (Number.isFinite(distance) && checked - begin < CALIBRATION_US) checked = sample();
  if (!Number.isFinite(distance)) distance = Math.round(uptime() * 1e6) - begin;
  return () => {
    const now = monotonicUs();
    if (now - checked > RECHECK_US) checked = sample();
    return Math.max(0, now + distance);
  };
}

function readSeconds(path: string, onError: OnHostError): number {
  try {
    return Number.parseFloat(readFileSync(path, 'latin1'));
  } catch (error) {
    onError('clock', error);
    return Number.NaN;
  }
}
