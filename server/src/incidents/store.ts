import { type Closing, INCIDENT_KINDS, type Incident, type IncidentKind } from '../contract/incidents.ts';
import type { BufferState } from '../model/buffer-state.ts';
import type { ProcessRecord } from '../model/processes.ts';
import type { Cause, Reason } from '../protocol/codes.ts';

/** The most importers, and the most holders, that an incident names. */
const NAMED_LIMIT = 64;

/** The first importers or holders of an incident, and the number of further ones. */
export interface Named<T> {
  readonly shown: readonly T[];
  readonly more: number;
}

export const NONE: Named<never> = { shown: [], more: 0 };

/**
 * Takes the first NAMED_LIMIT items. If their number `all` is known, it does not iterate over the rest to count them.
 */
export function named<T>(ones: Iterable<T>, all?: number): Named<T> {
  const shown: T[] = [];
  let more = 0;
  for (const one of ones) {
    if (shown.length < NAMED_LIMIT) shown.push(one);
    else if (all === undefined) more += 1;
    else break;
  }
  return { shown, more: all === undefined ? more : Math.max(0, all - shown.length) };
}

/** The importers that have attached a buffer. */
export function attachedTo({ inode, importers }: BufferState): IncidentFacts['importers'] {
  function* ones(): Generator<Incident['importers'][number]> {
    for (const { importer, importerDevice } of importers.attached())
      yield { importer, importer_device: importerDevice, inode };
  }
  return named(ones(), importers.attachedCount);
}

/** The processes that have a descriptor of a buffer. */
export function holdersOf({ holders }: BufferState): IncidentFacts['holders'] {
  return named(holders, holders.length);
}

/** The facts of an incident. Times are microseconds since boot. */
export interface IncidentFacts {
  since: number;
  device: number;
  inode: number | null;
  buffer: BufferState | null;
  /** For the kinds about a bind: the VM that the buffer was bound to. Other kinds use the VM of the buffer. */
  vm: ProcessRecord | null;
  importers: Named<Incident['importers'][number]>;
  /** For orphaned. */
  holders: Named<Incident['holders'][number]>;
  /** For revoke_waiting: the task of the call, and the cause of the revocation. */
  call: { pid: number; comm: string; cause: Cause } | null;
  /** For private_offered: the results of the offers. */
  offers: { accepted: number; rejected: number; reason: Reason; declared: boolean } | null;
}

export interface IncidentState extends IncidentFacts {
  readonly id: number;
  readonly kind: IncidentKind;
  readonly key: string;
  count: number;
  readonly openedAt: number;
  closedAt: number | null;
  closedBy: Closing | null;
  waitedUs: number | null;
  /** Set on close: whether no relevant event was lost while it was open. */
  exact: boolean;
}

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

  ofBuffer(inode: number): IncidentState[] {
    return [...(this.#ofBuffer.get(inode) ?? [])];
  }

  /** Open incidents about a bind to this VM. */
  ofVm(vm: ProcessRecord): IncidentState[] {
    return [...(this.#ofVm.get(vm) ?? [])];
  }

  open(): IncidentState[] {
    return [...this.#open.values()];
  }

  /** Closed incidents that are kept, newest last. */
  past(): readonly IncidentState[] {
    return this.#past;
  }

  /** Returns the open incident of this subject, or opens one. Null if the kind is at its limit. */
  admit(
    kind: IncidentKind,
    subject: string,
    openedAt: number,
    facts: Partial<IncidentFacts> & Pick<IncidentFacts, 'since' | 'device'>,
  ): IncidentState | null {
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
      importers: NONE,
      holders: NONE,
      call: null,
      offers: null,
      ...facts,
      id: this.#lastId,
      kind,
      key,
      count: 1,
      openedAt,
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
