import type { Cause, Reason } from '../../stream/codes.ts';
import type { BufferState } from '../buffer-state.ts';
import type { ProcessRecord } from '../processes.ts';
import { type Closing, INCIDENT_KINDS, type Incident, type IncidentKind } from '../schema.ts';

/** Most importers, and most holders, that an incident names. */
const NAMED_LIMIT = 64;

/** The first of those that an incident is about, and how many there are beyond them. */
export interface Named<T> {
  readonly shown: readonly T[];
  readonly more: number;
}

export const NOBODY: Named<never> = { shown: [], more: 0 };

/** `all`: how many there are, where that is known without a walk; the walk then ends with the last one that is named. */
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

/** Who has attached a buffer, and which processes have a descriptor of it. */
export function attachedTo({ inode, importers }: BufferState): IncidentFacts['importers'] {
  function* ones(): Generator<Incident['importers'][number]> {
    for (const { importer, importerDevice } of importers.attached())
      yield { importer, importer_device: importerDevice, inode };
  }
  return named(ones(), importers.attachedCount);
}

export function holdersOf({ holders }: BufferState): IncidentFacts['holders'] {
  return named(holders, holders.length);
}

/** What an incident is about. Times are microseconds since boot. */
export interface IncidentFacts {
  since: number;
  device: number;
  inode: number | null;
  buffer: BufferState | null;
  /** Of a bind: the VM that was bound to. The others' is their buffer's. */
  vm: ProcessRecord | null;
  importers: Named<Incident['importers'][number]>;
  /** Of orphaned. */
  holders: Named<Incident['holders'][number]>;
  /** Of revoke_waiting: whose call it is, and why it revokes. */
  call: { pid: number; comm: string; cause: Cause } | null;
  /** Of private_offered: what became of the offers. */
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
  /** Once closed: whether nothing was lost meanwhile. */
  exact: boolean;
}

export interface IncidentChange {
  change: 'opened' | 'closed';
  incident: IncidentState;
}

/** Keys of what found no room, remembered so that it counts once. */
const FOLDED_KEYS_LIMIT = 10_000;

const zeros = () =>
  Object.fromEntries(INCIDENT_KINDS.map((kind) => [kind, 0])) as Record<IncidentKind, number>;

/** The incidents: one for each kind and subject, bounded, counted as they open and close. */
export class IncidentStore {
  readonly opened = zeros();
  readonly closed = zeros();
  /** Those that were not opened because their kind had as many open as it may have. */
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

  /** Open incidents of a kind now. */
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

  /** Closed ones that are remembered, the newest last. */
  past(): readonly IncidentState[] {
    return this.#past;
  }

  /** The open incident of this subject, made where there is none; null where there is no room. */
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
      importers: NOBODY,
      holders: NOBODY,
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

  /** What has opened and closed since this was last asked. */
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
