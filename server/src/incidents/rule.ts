import type { VmRef } from '../contract/fields.ts';
import type { Closing, Incident } from '../contract/incidents.ts';
import type { Accounting } from '../model/accounting.ts';
import type { BufferState } from '../model/buffer-state.ts';
import type { BufferTable } from '../model/buffers.ts';
import type { ProcessRecord, ProcessTable } from '../model/processes.ts';
import type { ProbeName } from '../protocol/declared.ts';
import type { EventRecord, TupleOf } from '../protocol/tuples.ts';
import type { Dialect, Snapshot, SnapshotBuffer } from '../protocol/wire.ts';
import type { Participants } from './participants.ts';
import type { IncidentState, Opening } from './store.ts';

/** The dialects with private exports. */
export const PRIVATE_DIALECTS: readonly Dialect[] = ['private-v1', 'private-v2'];

/**
 * All about one kind of incident. The methods get only incidents of this kind, with the details that its detector gave
 * them.
 */
export interface IncidentRule<Details = unknown> {
  /** All of these probes are needed to detect it. */
  readonly probes: readonly ProbeName[];
  /** The dialects in which it can occur; absent means all. */
  readonly dialects?: readonly Dialect[];
  /** It is about the privacy of a VM's memory. If it cannot be detected, the API lists it in `blind_to`. */
  readonly securityRelevant?: true;
  /** Whether a snapshot confirms or closes it. Only events report the others. */
  readonly confirmedBySnapshot: boolean;
  /** For an operator: when it opens and closes, what to do, and the page in docs/runbooks, without `.md`. */
  readonly opens: string;
  readonly closes: string;
  readonly remedy: string;
  readonly runbook: string;
  severity(incident: IncidentState<Details>): Incident['severity'];
  /** What is wrong, as a sentence without its full stop. */
  problem(incident: IncidentState<Details>, names: Names): string;
  /**
   * What has closed an open incident of a buffer; null if it is not over. Called after each event of the buffer, and with
   * null after a snapshot of it.
   */
  closing?(incident: IncidentState<Details>, record: EventRecord | null): Closing | null;
  /** Starts the detection for one stream. */
  detector(context: RuleContext<Details>): Detector;
}

/** The names in a sentence, as known when it is made. */
export interface Names extends Participants {
  device: string;
  vm: VmRef | null;
  ownerVm: VmRef | null;
  tracesUnmaps: boolean;
}

/**
 * Opens the incidents of one kind in one stream. The engine calls each method after the buffers have applied the record.
 * Times are microseconds of the stream.
 */
export interface Detector {
  /** An event has arrived. `buffer` is the buffer that it names, if it is known. */
  event?(record: EventRecord, buffer: BufferState | undefined): void;
  /** The event of an export that the kernel did not reject has arrived. */
  exported?(data: TupleOf<'export'>['data'], buffer: BufferState): void;
  /** A buffer may have changed. `by` is what closes an incident if the buffer was released. */
  settle?(buffer: BufferState, t: number, by: 'released' | 'snapshot'): void;
  /** A snapshot describes a buffer: what events that arrived before it mean may be known now. */
  described?(buffer: BufferState): void;
  /** A snapshot has found a buffer, whose events may be older than the tracer, or lost. Called after `described`. */
  found?(buffer: BufferState, seen: SnapshotBuffer, t: number): void;
  /** All buffers of a complete snapshot are settled. */
  completed?(snapshot: Snapshot): void;
  /** A process has ended at `t`. */
  processExited?(process: ProcessRecord, t: number): void;
  /** The importers and holders of a buffer are discarded next. */
  beforeRelease?(buffer: BufferState): void;
  /** The stream has come to the time `t`. */
  advance?(t: number): void;
  /** The importers and holders of an incident now; null if they are those that it has. */
  current?(incident: IncidentState): Participants | null;
}

/** What a detector gets: the state of the model, and the open incidents of its kind. */
export interface RuleContext<Details = unknown> extends ModelState {
  /** Whether incidents of this kind can be detected. */
  isDetected(): boolean;
  find(subject: string): IncidentState<Details> | undefined;
  /** Returns the open incident of this subject, or opens one. Null if the kind is at its limit. */
  open(opening: Opening<Details>): IncidentState<Details> | null;
  /** Closes an incident. Without `exact`, it is exact if nothing was lost since it began. */
  close(incident: IncidentState<Details>, t: number, by: Closing, exact?: boolean): void;
}

/** The parts of the model that rules read. */
export interface ModelState {
  readonly buffers: BufferTable;
  readonly processes: ProcessTable;
  readonly accounting: Accounting;
  /** The dialect of the running program. */
  readonly dialect: () => Dialect;
}

/** An opening for a buffer, with the buffer as its subject. */
export function openingFor(
  buffer: BufferState,
  since: number,
  openedAt: number = since,
): Opening<null> & { buffer: BufferState } {
  const { inode, device } = buffer;
  return { subject: String(inode), since, openedAt, device, inode, buffer, details: null };
}

/** Closes an incident that is over already: by what has ended it, or by the end of its VM. */
export function closeIfOver<Details>(
  { close }: Pick<RuleContext<Details>, 'close'>,
  incident: IncidentState<Details>,
  vm: ProcessRecord | null,
  ending?: { t: number; by: Closing },
): void {
  const goneAt = vm?.goneAt ?? null;
  if (ending !== undefined) close(incident, ending.t, ending.by);
  else if (goneAt !== null) close(incident, goneAt, 'vm_gone');
}
