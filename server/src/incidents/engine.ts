import type { Closing, IncidentKind } from '../contract/incidents.ts';
import type { BufferState } from '../model/buffer-state.ts';
import type { ProcessRecord } from '../model/processes.ts';
import type { EventRecord } from '../protocol/tuples.ts';
import type { Snapshot, SnapshotBuffer } from '../protocol/wire.ts';
import type { Participants } from './participants.ts';
import type { Detector, IncidentRule, ModelState, RuleContext } from './rule.ts';
import { INCIDENT_RULES } from './rules/index.ts';
import { type IncidentState, IncidentStore } from './store.ts';

export interface IncidentLimits {
  /** The most open incidents of each kind; default 500. */
  open: number;
  /** The most closed incidents that are kept, over all kinds; default 500. */
  closed: number;
}

export const INCIDENT_LIMITS: IncidentLimits = { open: 500, closed: 500 };

export interface IncidentEngineOptions extends ModelState {
  /** Whether incidents of this kind can be detected. */
  readonly detects: (kind: IncidentKind) => boolean;
  readonly limits: IncidentLimits;
}

/**
 * Gives each record to the detectors of all rules, and closes the incidents for which their rule has a closing. An
 * incident also ends with the buffer and with the VM that it names. Call it after the buffers have applied a record.
 */
export class IncidentEngine {
  readonly store: IncidentStore;
  /** Begin of the last complete snapshot. */
  snapshotAt: number | null = null;
  readonly #options: IncidentEngineOptions;
  readonly #detectors: ReadonlyMap<IncidentKind, Detector>;

  constructor(options: IncidentEngineOptions) {
    this.#options = options;
    this.store = new IncidentStore(options.limits.open, options.limits.closed);
    const rules = Object.entries(INCIDENT_RULES) as [IncidentKind, IncidentRule][];
    this.#detectors = new Map(rules.map(([kind, rule]) => [kind, rule.detector(this.#contextOf(kind))]));
    options.buffers.beforeRelease = (buffer) => {
      for (const detector of this.#detectors.values()) detector.beforeRelease?.(buffer);
    };
  }

  event(record: EventRecord): void {
    const inode = 'inode' in record.data ? record.data.inode : null;
    const buffer = inode === null ? undefined : this.#options.buffers.get(inode);
    const exported = record.type === 'export' && record.data.errno === 0 ? record.data : null;
    for (const detector of this.#detectors.values()) {
      detector.event?.(record, buffer);
      if (exported !== null && buffer !== undefined) detector.exported?.(exported, buffer);
    }
    if (buffer !== undefined) this.#settle(buffer, record.data.t, record);
    else if (inode !== null) this.#closeEnded(inode, record.data.t, record);
  }

  processExited(process: ProcessRecord): void {
    const { goneAt } = process;
    if (goneAt === null) return;
    for (const detector of this.#detectors.values()) detector.processExited?.(process, goneAt);
    for (const incident of this.store.ofVm(process)) this.#close(incident, goneAt, 'vm_gone');
  }

  /** Applies a snapshot. Call it after the buffers were reconciled; `gone` are the buffers that no longer exist. */
  snapshot(snapshot: Snapshot, gone: readonly BufferState[]): void {
    const { complete, t_begin, t_end, buffers: found } = snapshot;
    if (complete) this.snapshotAt = t_begin;
    for (const { buffer } of this.store.allOpen()) {
      if (buffer !== null) this.#settle(buffer, t_end, null);
    }
    for (const buffer of gone) this.#settle(buffer, t_end, null);
    for (const seen of found) this.#found(seen, t_begin);
    for (const { inode } of found) {
      const buffer = this.#options.buffers.get(inode);
      if (buffer !== undefined && !buffer.released) this.#settle(buffer, t_end, null);
    }
    if (complete) for (const detector of this.#detectors.values()) detector.completed?.(snapshot);
  }

  /** Opens incidents for conditions that have lasted too long at time `t` of the stream. */
  advance(t: number): void {
    for (const detector of this.#detectors.values()) detector.advance?.(t);
  }

  /** The importers and holders of an incident. For some kinds they change while it is open. */
  participants(incident: IncidentState): Participants {
    return this.#detectors.get(incident.kind)?.current?.(incident) ?? incident;
  }

  /** Whether an open incident is exact: nothing was lost since it began, or a later snapshot has confirmed it. */
  isExact({ kind, since }: IncidentState): boolean {
    const { lastLossAt } = this.#options.accounting;
    if (lastLossAt <= since) return true;
    return (
      this.snapshotAt !== null && this.snapshotAt >= lastLossAt && INCIDENT_RULES[kind].confirmedBySnapshot
    );
  }

  #found(seen: SnapshotBuffer, t: number): void {
    const buffer = this.#options.buffers.get(seen.inode);
    if (buffer === undefined || buffer.released) return;
    for (const detector of this.#detectors.values()) detector.described?.(buffer);
    for (const detector of this.#detectors.values()) detector.found?.(buffer, seen, t);
  }

  /** Without a record, a snapshot shows the state of the buffer. */
  #settle(buffer: BufferState, t: number, record: EventRecord | null): void {
    const by = record === null ? 'snapshot' : 'released';
    if (buffer.released) {
      for (const incident of this.store.ofBuffer(buffer.inode)) this.#close(incident, buffer.changedAt, by);
    }
    for (const detector of this.#detectors.values()) detector.settle?.(buffer, t, by);
    this.#closeEnded(buffer.inode, t, record);
  }

  #closeEnded(inode: number, t: number, record: EventRecord | null): void {
    for (const incident of this.store.ofBuffer(inode)) {
      const closing = INCIDENT_RULES[incident.kind].closing?.(incident, record) ?? null;
      if (closing !== null) this.#close(incident, t, record === null ? 'snapshot' : closing);
    }
  }

  #close(incident: IncidentState, t: number, by: Closing, exact?: boolean): void {
    this.store.close(incident, t, by, exact ?? (by !== 'snapshot' && this.isExact(incident)));
  }

  #contextOf(kind: IncidentKind): RuleContext {
    const { buffers, processes, accounting, dialect, detects } = this.#options;
    return {
      buffers,
      processes,
      accounting,
      dialect,
      isDetected: () => detects(kind),
      find: (subject) => this.store.get(kind, subject),
      open: (opening) => this.store.open(kind, opening),
      close: (incident, t, by, exact) => this.#close(incident, t, by, exact),
    };
  }
}
