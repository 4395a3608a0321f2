import type { Clock } from '../lib/clock.ts';
import type { Snapshot } from '../protocol/wire.ts';

export type SnapshotCause = Snapshot['cause'];

export interface SchedulerOptions {
  clock: Clock;
  /** Minimum time between two snapshots for the same cause. */
  spacingMs: Readonly<Record<SnapshotCause, number>>;
  take: (cause: SnapshotCause, signal: AbortSignal) => Promise<void>;
}

/** Highest priority first: the cause that makes the most state inexact. */
const ORDER: readonly SnapshotCause[] = ['start', 'gap', 'loss', 'owner_exit'];

/** Takes one snapshot at a time. Requests that arrive before the next one starts share it. */
export class SnapshotScheduler {
  readonly #options: SchedulerOptions;
  readonly #requested = new Set<SnapshotCause>();
  readonly #lastAt = new Map<SnapshotCause, number>();
  #wake: () => void = () => {};

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  request(cause: SnapshotCause): void {
    this.#requested.add(cause);
    this.#wake();
  }

  /** Runs until the signal is aborted; `take` must not reject. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, take } = this.#options;
    while (!signal.aborted) {
      const cause = ORDER.find((candidate) => this.#requested.has(candidate) && this.#dueIn(candidate) <= 0);
      if (cause === undefined) {
        await this.#waitForRequest(signal);
        continue;
      }
      // One snapshot satisfies all requests from before its start.
      this.#requested.clear();
      await take(cause, signal);
      this.#lastAt.set(cause, clock.bootUs());
    }
  }

  #dueIn(cause: SnapshotCause): number {
    const last = this.#lastAt.get(cause);
    if (last === undefined) return 0;
    return this.#options.spacingMs[cause] - (this.#options.clock.bootUs() - last) / 1000;
  }

  async #waitForRequest(signal: AbortSignal): Promise<void> {
    const wakeUp = new AbortController();
    this.#wake = () => wakeUp.abort();
    const waits = [...this.#requested].map((cause) => this.#dueIn(cause));
    const stopOrWakeUp = AbortSignal.any([signal, wakeUp.signal]);
    await this.#options.clock.sleep(Math.max(1, Math.min(60_000, ...waits)), stopOrWakeUp);
    this.#wake = () => {};
  }
}
