import type { ChildTiming } from './child.ts';
import type { ExclusionTiming } from './exclusions.ts';
import type { HandoverTiming } from './handover.ts';
import type { SnapshotCause } from './snapshot-scheduler.ts';

export interface SupervisorTiming extends ChildTiming, HandoverTiming, ExclusionTiming {
  /** First and longest pause before a new child; it doubles with each failure. */
  restartMs: number;
  restartMaxMs: number;
  /** A child that was ready for this long has mended whatever was wrong. */
  stableMs: number;
  /** How often a host that cannot be traced is asked again. */
  unavailableMs: number;
  tickMs: number;
  /** How often processes, skipped probe runs and the list of modules are looked at. */
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
  ordersMs: 1000,
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
