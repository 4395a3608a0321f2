import { FifoMap } from '../support/fifo-map.ts';
import type { Task } from './buffer-state.ts';
import type { BufferTotals, LabelsOfBuffer } from './buffer-totals.ts';
import { IntervalSet } from './interval-set.ts';

/** One importer of one buffer; without an attachment it is only remembered, for events that come late. */
export interface ImporterState {
  readonly importer: string;
  readonly importerDevice: string;
  readonly attached: IntervalSet;
  /** Mappings that the importer has now. */
  readonly mapped: IntervalSet;
  /** When mappings showed attachments that were not seen; their own events may be on their way. */
  implied: number[];
  since: number;
  /** Whose import was the last. */
  task: Task | null;
  /** The last mapping of iommufd, and what was mapped and lost before: its call may still fail. */
  mapping: { pid: number; t: number; detachedAt: number | null; before: number; lost: number } | null;
  /** Attachments that the totals have of it. */
  counted: number;
}

/** Importers of one buffer that are remembered without an attachment, beyond those that have one. */
const MEMORY_LIMIT = 16;

const KVM = 'kvm';
const IOMMUFD = 'iommufd';

const keyOf = ({ importer, importerDevice }: Pick<ImporterState, 'importer' | 'importerDevice'>): string =>
  `${importer}\n${importerDevice}`;

/**
 * The importers of one buffer. They may be many, so each question has an index. Whoever changes the attachments or mappings of
 * one calls `update` after that.
 */
export class Importers {
  readonly #totals: BufferTotals;
  /** The device and the privacy that the totals have the attachments under. */
  #labels: LabelsOfBuffer = { device: 0, privacy: 'undeclared' };
  readonly #byKey = new Map<string, ImporterState>();
  /** Those without an attachment, in the order in which they lost it. Each is made when it is needed. */
  #idle: FifoMap<ImporterState, true> | null = null;
  #kvm: Set<ImporterState> | null = null;
  #mappedByIommufd: Set<ImporterState> | null = null;
  #mappedByOthers: Set<ImporterState> | null = null;
  /** Attachments of all, and of KVM. */
  named = 0;
  namedOfKvm = 0;

  constructor(totals: BufferTotals) {
    this.#totals = totals;
  }

  /** The importer of this name, inserted where it is new; `t` is microseconds since boot. */
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

  /** KVM's own, the one that came first. */
  get kvm(): ImporterState | undefined {
    const [first] = this.#kvm ?? [];
    return first;
  }

  /** Those with an attachment. */
  *attached(): Generator<ImporterState> {
    for (const state of this.#byKey.values()) if (state.attached.count > 0) yield state;
  }

  /** Those that a revocation waits for where they are mapped: neither KVM, whose slot stays, nor iommufd, which never unmaps. */
  *waitedFor(): Generator<ImporterState> {
    for (const state of this.#mappedByOthers ?? []) if (state.attached.count > 0) yield state;
  }

  /** How many have an attachment. */
  get attachedCount(): number {
    return this.#byKey.size - (this.#idle?.size ?? 0);
  }

  /** How many a revocation may wait for. */
  get waiters(): number {
    return this.#mappedByOthers?.size ?? 0;
  }

  mappedByIommufd(): readonly ImporterState[] {
    return this.#mappedByIommufd === null ? [] : [...this.#mappedByIommufd];
  }

  mappedByOthers(): readonly ImporterState[] {
    return this.#mappedByOthers === null ? [] : [...this.#mappedByOthers];
  }

  /** Brings indexes and totals up to what the importer is now. */
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

  /** Sets whose import was the last. */
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

  /** Moves the attachments in the totals: the device or the privacy of the buffer is another than was known. */
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
