import type { Snapshot } from '../../stream/wire.ts';
import type { Clock } from '../../support/clock.ts';

export type SnapshotCause = Snapshot['cause'];

export interface SchedulerOptions {
  clock: Clock;
  /** Least time between two snapshots for this cause. */
  spacingMs: Readonly<Record<SnapshotCause, number>>;
  take: (cause: SnapshotCause, signal: AbortSignal) => Promise<void>;
}

/** The more a cause calls into question, the earlier it stands. */
const ORDER: readonly SnapshotCause[] = ['start', 'gap', 'loss', 'owner_exit'];

/** Takes snapshots one after the other; requests that wait for the same one become one. */
export class SnapshotScheduler {
  private readonly options: SchedulerOptions;
  private readonly wanted = new Set<SnapshotCause>();
  private readonly lastAt = new Map<SnapshotCause, number>();
  private wake: () => void = () => {};

  constructor(options: SchedulerOptions) {
    this.options = options;
  }

  request(cause: SnapshotCause): void {
    this.wanted.add(cause);
    this.wake();
  }

  /** Runs until the signal is aborted; `take` must not reject. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, take } = this.options;
    while (!signal.aborted) {
      const cause = ORDER.find((candidate) => this.wanted.has(candidate) && this.dueIn(candidate) <= 0);
      if (cause === undefined) {
        await this.rest(signal);
        continue;
      }
      // One snapshot answers everything that was asked before it began.
      this.wanted.clear();
      await take(cause, signal);
      this.lastAt.set(cause, clock.bootUs());
    }
  }

  private dueIn(cause: SnapshotCause): number {
    const last = this.lastAt.get(cause);
    if (last === undefined) return 0;
    return this.options.spacingMs[cause] - (this.options.clock.bootUs() - last) / 1000;
  }

  private async rest(signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.wake = () => woken.abort();
    const waits = [...this.wanted].map((cause) => this.dueIn(cause));
    const either = AbortSignal.any([signal, woken.signal]);
    await this.options.clock.sleep(Math.max(1, Math.min(60_000, ...waits)), either);
    this.wake = () => {};
  }
}
