import type { HandoverTiming } from '../bpftrace/handover/handover.ts';
import type { ChildTiming } from '../bpftrace/process/child.ts';
import type { ExclusionTiming } from './exclusions.ts';
import type { SnapshotCause } from './snapshot-scheduler.ts';

export interface SupervisorTiming extends ChildTiming, HandoverTiming, ExclusionTiming {
  /** Initial and longest pause before a new child, in milliseconds. The pause doubles with each failure. */
  restartMs: number;
  restartMaxMs: number;
  /** A child that was ready for this long resets the pause to its initial value. */
  stableMs: number;
  /** Interval between inspections of a host that cannot be traced. */
  unavailableMs: number;
  tickMs: number;
  /** Intervals between reads of the processes, the skipped probe runs and the list of modules. */
  processesMs: number;
  missesMs: number;
  modulesMs: number;
  spacingMs: Readonly<Record<SnapshotCause, number>>;
}

export const DEFAULT_TIMING: SupervisorTiming = {
  readyMs: 180_000,
  silenceMs: 15_000,
  stopMs: 5000,
  cutAheadMs: 6000,
  commandPollMs: 1000,
  drainMs: 15_000,
  restartMs: 1000,
  restartMaxMs: 60_000,
  stableMs: 60_000,
  unavailableMs: 30_000,
  exclusionMs: 600_000,
  exclusionMaxMs: 6 * 3_600_000,
  tickMs: 1000,
  processesMs: 2000,
  missesMs: 10_000,
  modulesMs: 5000,
  spacingMs: { start: 0, gap: 0, loss: 30_000, owner_exit: 5000 },
};
