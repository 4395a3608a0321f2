import { RingLoss } from '../protocol/ring-loss.ts';
import type { CollectorLine, Loss } from '../protocol/wire.ts';

/**
 * Counts losses of the collector itself and emits them as cumulative `loss` lines. Calls `onEventsLost` if fewer events
 * of a child arrive than it emitted.
 */
export class LossCounts {
  readonly #emit: (line: CollectorLine) => void;
  readonly #onEventsLost: () => void;
  readonly #counts = new Map<Loss['stage'], number>();
  readonly #reported = new Map<Loss['stage'], number>();
  #received = 0;
  #ring = new RingLoss();
  #missedOfChild = 0;
  #returnsMissedOfChild = 0;

  constructor(options: { emit: (line: CollectorLine) => void; onEventsLost: () => void }) {
    this.#emit = options.emit;
    this.#onEventsLost = options.onEventsLost;
  }

  /** The counts of a new child start at zero. */
  childStarted(): void {
    this.#received = 0;
    this.#ring = new RingLoss();
    this.#missedOfChild = 0;
    this.#returnsMissedOfChild = 0;
  }

  eventReceived(): void {
    this.#received++;
  }

  /**
   * `emitted`: events that the child has emitted so far. A line that the collector dropped is missing too: the buffer
   * is inexact.
   */
  heartbeat(emitted: number): void {
    if (this.#ring.heartbeat(Math.max(0, emitted - this.#received))) this.#onEventsLost();
  }

  /**
   * `total`: calls of this child so far whose return was not traced. No event reports what they did to their buffers.
   */
  returnsMissed(total: number): void {
    if (total > this.#returnsMissedOfChild) this.#onEventsLost();
    this.#returnsMissedOfChild = total;
  }

  /** A line reports a loss, or cannot be decoded: the buffers may be inexact. */
  lossReported(): void {
    this.#onEventsLost();
  }

  lineDropped(stage: 'splitter' | 'queue'): void {
    this.#add(stage, 1);
  }

  /** Calls that may be in no counter because of a handover. */
  handoverLost(count: number): void {
    this.#add('handover', count);
  }

  /** `total`: probe runs of this child that the kernel has skipped so far. */
  probesMissed(total: number): void {
    this.#add('probe_missed', Math.max(0, total - this.#missedOfChild));
    this.#missedOfChild = Math.max(total, this.#missedOfChild);
  }

  /** Emits a line for each count that has grown since the last report. `t` is in microseconds since boot. */
  report(t: number): void {
    let grown = false;
    for (const [stage, count] of this.#counts) {
      if (this.#reported.get(stage) === count) continue;
      this.#reported.set(stage, count);
      this.#emit({ type: 'loss', data: { t, stage, count } });
      grown = true;
    }
    // After the line, so that the snapshot is newer than the loss.
    if (grown) this.#onEventsLost();
  }

  #add(stage: Loss['stage'], more: number): void {
    if (more > 0) this.#counts.set(stage, (this.#counts.get(stage) ?? 0) + more);
  }
}
