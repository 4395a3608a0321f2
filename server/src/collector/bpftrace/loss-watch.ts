import { RingLoss } from '../../stream/ring-loss.ts';
import type { CollectorLine, Loss } from '../../stream/wire.ts';

/**
 * Keeps the collector's own counts of what was lost, as cumulative `loss` lines, and tells when the events of a child
 * are fewer than it emitted.
 */
export class LossWatch {
  private readonly emit: (line: CollectorLine) => void;
  private readonly onEventsLost: () => void;
  private readonly counts = new Map<Loss['stage'], number>();
  private readonly written = new Map<Loss['stage'], number>();
  private received = 0;
  private ring = new RingLoss();
  private missedOfChild = 0;
  private returnsMissedOfChild = 0;

  constructor(options: { emit: (line: CollectorLine) => void; onEventsLost: () => void }) {
    this.emit = options.emit;
    this.onEventsLost = options.onEventsLost;
  }

  /** A new child counts from zero. */
  childStarted(): void {
    this.received = 0;
    this.ring = new RingLoss();
    this.missedOfChild = 0;
    this.returnsMissedOfChild = 0;
  }

  eventReceived(): void {
    this.received++;
  }

  /** Whatever an event was lost to, its buffer is not as it was told: a line that we dropped counts as missing too. */
  heartbeat(emitted: number): void {
    if (this.ring.heartbeat(Math.max(0, emitted - this.received))) this.onEventsLost();
  }

  /** Calls so far that were not seen to return: no event told of what they did to their buffers. */
  returnsMissed(total: number): void {
    if (total > this.returnsMissedOfChild) this.onEventsLost();
    this.returnsMissedOfChild = total;
  }

  /** A line says that something is missing, or is itself unreadable: the buffers may not be as they were told. */
  lossReported(): void {
    this.onEventsLost();
  }

  lineDropped(stage: 'splitter' | 'queue'): void {
    this.add(stage, 1);
  }

  /** Calls that a program had not seen return when another took over: they are in no counter. */
  callsLeft(count: number): void {
    this.add('handover', count);
  }

  /** Probe runs that were skipped so far, as the kernel counts them for the running child. */
  probesMissed(total: number): void {
    this.add('probe_missed', Math.max(0, total - this.missedOfChild));
    this.missedOfChild = Math.max(total, this.missedOfChild);
  }

  /** Writes a line for each count that has grown since it was last told. */
  tell(t: number): void {
    let grown = false;
    for (const [stage, count] of this.counts) {
      if (this.written.get(stage) === count) continue;
      this.written.set(stage, count);
      this.emit({ type: 'loss', data: { t, stage, count } });
      grown = true;
    }
    // Asked for after the line, so that the snapshot is newer than the loss.
    if (grown) this.onEventsLost();
  }

  private add(stage: Loss['stage'], more: number): void {
    if (more > 0) this.counts.set(stage, (this.counts.get(stage) ?? 0) + more);
  }
}
