import { FifoMap } from '../lib/fifo-map.ts';
import type { Privacy, Route } from '../protocol/codes.ts';
import { IntervalSet } from './interval-set.ts';
import type { Task } from './processes.ts';

/** The labels of a buffer's totals. The device is a packed PCI address. */
export interface LabelsOfBuffer {
  readonly device: number;
  readonly privacy: Privacy;
}

/** Counts attachments over all buffers. */
export interface AttachmentTotals {
  addAttachments(labels: LabelsOfBuffer, importer: string, growth: number): void;
}

/** One importer of one buffer. Without an attachment it is kept only to match late events. */
export interface ImporterState {
  readonly importer: string;
  readonly importerDevice: string;
  readonly attached: IntervalSet;
  /** Current mappings. */
  readonly mapped: IntervalSet;
  /** Of the last mapping whose event has a route. */
  route: Route | null;
  /** Times of mappings that implied an attachment that was not traced. Its attach event may still arrive. */
  implied: number[];
  since: number;
  /** The task of the last import. */
  task: Task | null;
  /** The last mapping of iommufd, and the numbers of mappings and lost mappings before it: its call may still fail. */
  mapping: { pid: number; t: number; detachedAt: number | null; before: number; lost: number } | null;
  /** Number of its attachments in the totals. */
  counted: number;
}

/** At this number of importers of one buffer, a new one evicts the oldest one without an attachment. */
const MEMORY_LIMIT = 16;

const KVM = 'kvm';
const IOMMUFD = 'iommufd';

function keyOf({ importer, importerDevice }: Pick<ImporterState, 'importer' | 'importerDevice'>): string {
  return `${importer}\n${importerDevice}`;
}

/**
 * The importers of one buffer. There may be many, so each query has an index. Call `update` after each change of the
 * attachments or mappings of an importer.
 */
export class Importers {
  readonly #totals: AttachmentTotals;
  /** The device and privacy under which the totals count the attachments. */
  #labels: LabelsOfBuffer = { device: 0, privacy: 'undeclared' };
  readonly #byKey = new Map<string, ImporterState>();
  /** Importers without an attachment, in the order in which they lost it. All indexes are created when needed. */
  #idle: FifoMap<ImporterState, true> | null = null;
  #kvm: Set<ImporterState> | null = null;
  #mappedByIommufd: Set<ImporterState> | null = null;
  #mappedByOthers: Set<ImporterState> | null = null;
  /** Number of attachments of all importers, and of KVM. */
  named = 0;
  namedOfKvm = 0;

  constructor(totals: AttachmentTotals) {
    this.#totals = totals;
  }

  /** The importer of this name, inserted if it is new. `t` is microseconds since boot. */
  get(importer: string, importerDevice: string, t: number): ImporterState {
    const key = keyOf({ importer, importerDevice });
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    this.#idle ??= new FifoMap();
    if (this.#byKey.size >= MEMORY_LIMIT) {
      const idle = this.#idle.oldest();
      if (idle !== undefined) this.remove(idle);
    }
    const state: ImporterState = {
      importer,
      importerDevice,
      attached: new IntervalSet(),
      mapped: new IntervalSet(),
      route: null,
      implied: [],
      since: t,
      task: null,
      mapping: null,
      counted: 0,
    };
    this.#byKey.set(key, state);
    this.#idle.set(state, true);
    if (importer === KVM) {
      this.#kvm ??= new Set();
      this.#kvm.add(state);
    }
    return state;
  }

  /** The first importer entry of KVM. */
  get kvm(): ImporterState | undefined {
    const [first] = this.#kvm ?? [];
    return first;
  }

  /** Importers with an attachment. */
  *attached(): Generator<ImporterState> {
    for (const state of this.#byKey.values()) if (state.attached.count > 0) yield state;
  }

  /**
   * Importers with mappings that a revocation waits for: not KVM, whose slot stays bound, and not iommufd, which never
   * unmaps.
   */
  *waitedFor(): Generator<ImporterState> {
    for (const state of this.#mappedByOthers ?? []) if (state.attached.count > 0) yield state;
  }

  /** Number of importers with an attachment. */
  get attachedCount(): number {
    return this.#byKey.size - (this.#idle?.size ?? 0);
  }

  /** Number of importers that a revocation may wait for. */
  get waiters(): number {
    return this.#mappedByOthers?.size ?? 0;
  }

  mappedByIommufd(): readonly ImporterState[] {
    return this.#mappedByIommufd === null ? [] : [...this.#mappedByIommufd];
  }

  mappedByOthers(): readonly ImporterState[] {
    return this.#mappedByOthers === null ? [] : [...this.#mappedByOthers];
  }

  /** Updates indexes and totals after a change of an importer. */
  update(state: ImporterState): void {
    const { importer, attached, mapped, counted } = state;
    const growth = attached.count - counted;
    if (growth !== 0) {
      state.counted = attached.count;
      this.named += growth;
      if (importer === KVM) this.namedOfKvm += growth;
      this.#totals.addAttachments(this.#labels, importer, growth);
      if (attached.count === 0) {
        this.#idle ??= new FifoMap();
        this.#idle.set(state, true);
      } else if (counted === 0) this.#idle?.delete(state);
    }
    if (importer === KVM) return;
    if (importer === IOMMUFD) this.#mappedByIommufd = indexed(this.#mappedByIommufd, state, mapped.count > 0);
    else this.#mappedByOthers = indexed(this.#mappedByOthers, state, mapped.count > 0);
  }

  /** Sets the task of the last import. */
  setTask(state: ImporterState, task: Task): void {
    unlink(state.task);
    state.task = task;
    if (task.process === null) return;
    task.process.tasks ??= new Set();
    task.process.tasks.add(task);
  }

  remove(state: ImporterState): void {
    if (!this.#byKey.delete(keyOf(state))) return;
    unlink(state.task);
    this.#idle?.delete(state);
    this.#kvm?.delete(state);
    this.#mappedByIommufd?.delete(state);
    this.#mappedByOthers?.delete(state);
    this.named -= state.counted;
    if (state.importer === KVM) this.namedOfKvm -= state.counted;
    this.#totals.addAttachments(this.#labels, state.importer, -state.counted);
    state.counted = 0;
  }

  /** Moves the attachments in the totals, after the known device or privacy of the buffer has changed. */
  relabel(labels: LabelsOfBuffer): void {
    for (const { importer, counted } of this.attached()) {
      this.#totals.addAttachments(this.#labels, importer, -counted);
      this.#totals.addAttachments(labels, importer, counted);
    }
    this.#labels = labels;
  }

  clear(): void {
    for (const state of this.#byKey.values()) this.remove(state);
  }
}

/** The route of the importer's current mappings; null without any, or if they have no route. */
export function routeOf({ mapped, route }: Readonly<ImporterState>): Route | null {
  return mapped.count > 0 ? route : null;
}

function indexed(
  index: Set<ImporterState> | null,
  state: ImporterState,
  isIn: boolean,
): Set<ImporterState> | null {
  if (!isIn) {
    index?.delete(state);
    return index;
  }
  return (index ?? new Set()).add(state);
}

function unlink(task: Task | null): void {
  task?.process?.tasks?.delete(task);
}
