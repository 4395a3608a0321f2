import type { DecodeFailure, StreamRecord } from '../protocol/decode.ts';
import type { Child } from '../protocol/wire.ts';

export interface DataPathOptions {
  /** Monotonic milliseconds. */
  nowMs?: () => number;
}

/**
 * Whether lines pass through this process. The kernel's counters are read every second while bpftrace traces, so then no
 * read for a long time means that the path is broken. Restarts of bpftrace and hosts that cannot be traced do not count:
 * a restart of this process would not help.
 */
export class DataPath {
  readonly #nowMs: () => number;
  #child: Child | null = null;
  /** Time of the last counter read of the running bpftrace; null if none is expected. */
  #readMs: number | null = null;

  constructor({ nowMs = () => performance.now() }: DataPathOptions = {}) {
    this.#nowMs = nowMs;
  }

  /** The state on one line. */
  get text(): string {
    const child = this.#child;
    if (child === null) return 'starting';
    if (child.state === 'exited') return `bpftrace does not run: ${child.message}`;
    if (child.state === 'unavailable') return `this host cannot be traced: ${child.message}`;
    const attached = child.probes.filter((probe) => probe.attached).length;
    const what = `${attached} of ${child.probes.length} probes`;
    return this.#readMs === null ? `bpftrace is starting with ${what}` : `tracing with ${what}`;
  }

  observe(record: StreamRecord | DecodeFailure): void {
    if (record.type === 'read_end') this.#readMs = this.#nowMs();
    // A new connection begins with this line.
    if (record.type === 'joined') this.#readMs = null;
    if (record.type !== 'child') return;
    if (record.data.state !== 'changed') this.#readMs = null;
    this.#child = record.data;
  }

  /** Why the path is broken: no read for longer than `limitMs`; null if it is not. */
  problem(limitMs: number): string | null {
    if (this.#readMs === null) return null;
    const ms = this.#nowMs() - this.#readMs;
    return ms <= limitMs
      ? null
      : `no counters were read for ${Math.round(ms / 1000)} s, although bpftrace traces`;
  }
}
