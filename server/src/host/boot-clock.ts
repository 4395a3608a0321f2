import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { join } from 'node:path';
import type { OnReadError } from '../lib/errno.ts';

export interface BootClockOptions {
  procRoot?: string;
  /** Monotonic time in microseconds. */
  monotonicUs?: () => number;
  onError?: OnReadError;
}

const CALIBRATION_US = 25_000;
const RECHECK_US = 1_000_000;

/**
 * Creates a clock of microseconds since boot, comparable to bpftrace's nsecs. /proc/uptime is the same clock, truncated
 * to 10 ms. The offset to the monotonic clock is therefore the largest difference that was measured. Suspends can only
 * increase it, so the time never goes backwards. If the file cannot be read, the last offset is kept. At the start,
 * os.uptime() then gives the offset, with a resolution of one second.
 */
export function createBootClock(options: BootClockOptions = {}): () => number {
  const { procRoot = '/proc', monotonicUs = () => Number(process.hrtime.bigint() / 1000n) } = options;
  const { onError = () => {} } = options;
  const path = join(procRoot, 'uptime');
  let offset = Number.NEGATIVE_INFINITY;
  const sample = (): number => {
    const seconds = readSeconds(path, onError);
    const now = monotonicUs();
    if (Number.isFinite(seconds)) offset = Math.max(offset, Math.round(seconds * 1e6) - now);
    return now;
  };
  const begin = sample();
  let checked = begin;
  while (Number.isFinite(offset) && checked - begin < CALIBRATION_US) checked = sample();
  if (!Number.isFinite(offset)) offset = Math.round(uptime() * 1e6) - begin;
  return () => {
    const now = monotonicUs();
    if (now - checked > RECHECK_US) checked = sample();
    return Math.max(0, now + offset);
  };
}

function readSeconds(path: string, onError: OnReadError): number {
  try {
    return Number.parseFloat(readFileSync(path, 'latin1'));
  } catch (error) {
    onError(error);
    return Number.NaN;
  }
}
