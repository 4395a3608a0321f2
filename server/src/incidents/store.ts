import { type Closing, INCIDENT_KINDS, type IncidentKind } from '../contract/incidents.ts';
import type { BufferState } from '../model/buffer-state.ts';
import type { ProcessRecord } from '../model/processes.ts';
import { NONE, type Participants } from './participants.ts';

/** The facts of an incident. Times are microseconds since boot. */
export interface IncidentFacts extends Participants {
  since: number;
  device: number;
  inode: number | null;
  buffer: BufferState | null;
  /** The VM that the incident is about, if that is not the VM of the buffer. */
  vm: ProcessRecord | null;
  /** How that VM was found. */
  vmBy: 'kvm' | 'task';
}

export interface IncidentState<Details = unknown> extends IncidentFacts {
  readonly id: number;
  readonly kind: IncidentKind;
  readonly key: string;
  /** What only the rule of this kind reads. */
  readonly details: Details;
  count: number;
  readonly openedAt: number;
  closedAt: number | null;
  closedBy: Closing | null;
  /** Duration of what the incident waited for, if its end was traced. */
  waitedUs: number | null;
  /** Set on close: whether no relevant event was lost while it was open. */
  exact: boolean;
}

/** The facts with which an incident opens. */
export type Opening<Details = unknown> = Partial<IncidentFacts> &
  Pick<IncidentFacts, 'since' | 'device'> & {
    /** What the incident is about: at most one incident is open for each kind and subject. */
    subject: string;
    openedAt: number;
    details: Details;
  };

export interface IncidentChange {
  change: 'opened' | 'closed';
  incident: IncidentState;
}

/** The most keys of folded incidents that are kept, so that each is counted once. */
const FOLDED_KEYS_LIMIT = 10_000;

function zeros() {
  return Object.fromEntries(INCIDENT_KINDS.map((kind) => [kind, 0])) as Record<IncidentKind, number>;
}

/** The incidents: at most one open per kind and subject, up to a limit per kind. Counts those that open and close. */
export class IncidentStore {
  readonly opened = zeros();
  readonly closed = zeros();
  /** Incidents that were not opened because their kind was at its limit. */
  readonly folded = zeros();
  readonly #openLimit: number;
  readonly #closedLimit: number;
  readonly #open = new Map<string, IncidentState>();
  readonly #ofBuffer = new Map<number, Set<IncidentState>>();
  readonly #ofVm = new Map<ProcessRecord, Set<IncidentState>>();
  readonly #foldedKeys = new Set<string>();
  readonly #past: IncidentState[] = [];
  #changes: IncidentChange[] = [];
  #lastId = 0;

  constructor(openLimit: number, closedLimit: number) {
    this.#openLimit = openLimit;
    this.#closedLimit = closedLimit;
  }

  /** Number of open incidents of a kind. */
  count(kind: IncidentKind): number {
    return this.opened[kind] - this.closed[kind];
  }

  get(kind: IncidentKind, subject: string): IncidentState | undefined {
    return this.#open.get(keyOf(kind, subject));
  }

  /** Open incidents of a buffer, oldest first. */
  ofBuffer(inode: number): IncidentState[] {
    return [...(this.#ofBuffer.get(inode) ?? [])];
  }

  /** Open incidents that name this VM. */
  ofVm(vm: ProcessRecord): IncidentState[] {
    return [...(this.#ofVm.get(vm) ?? [])];
  }

  allOpen(): IncidentState[] {
    return [...this.#open.values()];
  }

  /** Closed incidents that are kept, newest last. */
  past(): readonly IncidentState[] {
    return this.#past;
  }

  /** Returns the open incident of this subject, or opens one. Null if the kind is at its limit. */
  open(kind: IncidentKind, { subject, ...facts }: Opening): IncidentState | null {
    const key = keyOf(kind, subject);
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    if (this.count(kind) >= this.#openLimit) {
      this.#fold(kind, key);
      return null;
    }
    this.#foldedKeys.delete(key);
    this.#lastId += 1;
    const incident: IncidentState = {
      inode: null,
      buffer: null,
      vm: null,
      vmBy: 'kvm',
      importers: NONE,
      holders: NONE,
      ...facts,
      id: this.#lastId,
      kind,
      key,
      count: 1,
      closedAt: null,
      closedBy: null,
      waitedUs: null,
      exact: true,
    };
    this.opened[kind] += 1;
    this.#open.set(key, incident);
    if (incident.inode !== null) add(this.#ofBuffer, incident.inode, incident);
    if (incident.vm !== null) add(this.#ofVm, incident.vm, incident);
    this.#changes.push({ change: 'opened', incident });
    return incident;
  }

  close(incident: IncidentState, t: number, by: Closing, exact: boolean): void {
    if (!this.#open.delete(incident.key)) return;
    incident.closedAt = Math.max(t, incident.openedAt);
    incident.closedBy = by;
    incident.exact = exact;
    this.closed[incident.kind] += 1;
    if (incident.inode !== null) remove(this.#ofBuffer, incident.inode, incident);
    if (incident.vm !== null) remove(this.#ofVm, incident.vm, incident);
    this.#past.push(incident);
    if (this.#past.length > this.#closedLimit) this.#past.shift();
    this.#changes.push({ change: 'closed', incident });
  }

  /** Returns and clears the incidents that opened or closed since the last call. */
  takeChanges(): readonly IncidentChange[] {
    if (this.#changes.length === 0) return this.#changes;
    const changes = this.#changes;
    this.#changes = [];
    return changes;
  }

  #fold(kind: IncidentKind, key: string): void {
    if (this.#foldedKeys.has(key)) return;
    if (this.#foldedKeys.size >= FOLDED_KEYS_LIMIT) this.#foldedKeys.clear();
    this.#foldedKeys.add(key);
    this.folded[kind] += 1;
  }
}

function add<K>(index: Map<K, Set<IncidentState>>, key: K, incident: IncidentState): void {
  const others = index.get(key);
  if (others === undefined) index.set(key, new Set([incident]));
  else others.add(incident);
}

function remove<K>(index: Map<K, Set<IncidentState>>, key: K, incident: IncidentState): void {
  const others = index.get(key);
  others?.delete(incident);
  if (others?.size === 0) index.delete(key);
}

function keyOf(kind: IncidentKind, subject: string): string {
  return `${kind}\n${subject}`;
}
