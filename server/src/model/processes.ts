import { type Exit, type Process, startMicros } from '../stream/wire.ts';
import { FifoMap } from '../support/fifo-map.ts';
import type { BufferState, Task } from './buffer-state.ts';
import { vmKind } from './naming.ts';
import type { VmBy, VmRef } from './schema.ts';

/** One process that events name. Buffers keep theirs, so that a pid that is used again does not rename the past. */
export interface ProcessRecord {
  readonly pid: number;
  identity: Process | null;
  /** The process, where the number is another of its threads. */
  leader: ProcessRecord | null;
  /** Its kind, of VM_KINDS, where an event has told it. */
  vmType: number | null;
  /** When it was first named, and when it was known to have ended; microseconds since boot. */
  readonly since: number;
  goneAt: number | null;
  /** Who had the number before: events may come after the line that reports the next one. */
  previous: ProcessRecord | null;
  /** What names this record, kept by `BufferTable`: buffers as their owner or VM, tasks of importers. Null where nothing does. */
  buffers: Set<BufferState> | null;
  tasks: Set<Task> | null;
  /** Records of its other threads, as far as they are known. */
  threads: Set<ProcessRecord> | null;
}

/** A number has passed to another process: what was named by it at `since` or later is the second one's. */
export interface Takeover {
  from: ProcessRecord;
  to: ProcessRecord;
  since: number;
}

export const PROCESS_LIMIT = 8192;

/** The process that a number stands for: a VM is named by the thread that made it. */
export function leaderOf(record: ProcessRecord): ProcessRecord {
  return record.leader ?? record;
}

function newRecord(
  fields: Pick<ProcessRecord, 'pid' | 'since'> &
    Partial<Pick<ProcessRecord, 'identity' | 'goneAt' | 'previous'>>,
): ProcessRecord {
  return {
    identity: null,
    leader: null,
    vmType: null,
    goneAt: null,
    previous: null,
    buffers: null,
    tasks: null,
    threads: null,
    ...fields,
  };
}

/**
 * pid -> who it is. Bounded: the ones that have ended are evicted first, then the oldest that is not a VM, then the oldest.
 * Each record of the table is in one of three queues, so that an eviction does not search.
 */
export class ProcessTable {
  readonly #records = new Map<number, ProcessRecord>();
  readonly #ended = new FifoMap<ProcessRecord, true>();
  /** Whether a record runs a VM may become known later: then it moves from `#others` to `#vms` once it is the oldest. */
  readonly #others = new FifoMap<ProcessRecord, true>();
  readonly #vms = new FifoMap<ProcessRecord, true>();
  readonly #limit: number;
  /** Processes that had not ended and made room for others. */
  forgotten = 0;

  constructor(limit: number = PROCESS_LIMIT) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#records.size;
  }

  /** Inserts or updates who a process is; returns the takeover where the number was another's before. */
  identify(process: Process): Takeover | null {
    const takeover = this.#take(process);
    const { pid, t, tgid } = process;
    const record = this.#records.get(pid);
    const leader = tgid === undefined ? null : this.at(tgid, t);
    if (record === undefined || leader === null) return takeover;
    record.leader?.threads?.delete(record);
    record.leader = leader;
    leader.threads ??= new Set();
    leader.threads.add(record);
    leader.vmType ??= record.vmType;
    return takeover;
  }

  #take(process: Process): Takeover | null {
    const { pid, t } = process;
    const start = startMicros(process.start_ticks);
    const known = this.#records.get(pid);
    if (known === undefined) {
      this.#add(newRecord({ pid, identity: process, since: t }));
      return null;
    }
    const same =
      known.identity === null
        ? known.goneAt === null && start <= known.since
        : known.identity.start_ticks === process.start_ticks;
    if (same) {
      known.identity = process;
      return null;
    }
    known.goneAt ??= start;
    const to = this.#add(newRecord({ pid, identity: process, since: start, previous: known }));
    return { from: known, to, since: start };
  }

  /** The process that has ended; null where it is too long ago to be known, or where its end is known already. */
  exit({ pid, t, start_ticks }: Exit): ProcessRecord | null {
    // Its line may come before the events of what it did.
    let record: ProcessRecord | null = this.#records.get(pid) ?? this.#add(newRecord({ pid, since: t }));
    const isAnother = ({ identity }: ProcessRecord): boolean =>
      identity !== null && start_ticks !== undefined && identity.start_ticks !== start_ticks;
    if (isAnother(record)) record = record.previous;
    if (record === null || isAnother(record) || record.goneAt !== null) return null;
    record.goneAt = t;
    if (this.#others.delete(record) || this.#vms.delete(record)) this.#ended.set(record, true);
    return record;
  }

  /**
   * Who had the number at the time t: not one that started later, nor one that had ended before. Null for pid 0, which is
   * no process.
   */
  at(pid: number, t: number, vmType: number | null = null): ProcessRecord | null {
    if (pid === 0) return null;
    let record = this.#records.get(pid);
    if (record === undefined) {
      record = this.#add(newRecord({ pid, since: t }));
    } else if (record.identity !== null && startMicros(record.identity.start_ticks) > t) {
      record.previous ??= newRecord({ pid, since: t, goneAt: t });
      record = record.previous;
    } else if (t > (record.goneAt ?? record.leader?.goneAt ?? t)) {
      record = this.#add(newRecord({ pid, since: t, previous: record }));
    }
    if (vmType !== null) leaderOf(record).vmType = vmType;
    return record;
  }

  #add(record: ProcessRecord): ProcessRecord {
    const { previous } = record;
    if (previous !== null) {
      // One that came before is enough: no event is that late.
      previous.previous = null;
      this.#drop(previous);
    }
    if (this.#records.size >= this.#limit) this.#evict();
    this.#records.set(record.pid, record);
    this.#others.set(record, true);
    return record;
  }

  /** Only the end of those that own something is reported, so what imported once and ended long ago looks alive. */
  #evict(): void {
    const ended = this.#ended.oldest();
    if (ended !== undefined) {
      this.#drop(ended);
      return;
    }
    this.forgotten += 1;
    for (let record = this.#others.oldest(); record !== undefined; record = this.#others.oldest()) {
      if (!runsVm(leaderOf(record))) {
        this.#drop(record);
        return;
      }
      this.#others.delete(record);
      this.#vms.set(record, true);
    }
    const vm = this.#vms.oldest();
    if (vm !== undefined) this.#drop(vm);
  }

  /** Removes a record from the table; buffers may still name it. */
  #drop(record: ProcessRecord): void {
    this.#records.delete(record.pid);
    this.#ended.delete(record);
    this.#others.delete(record);
    this.#vms.delete(record);
    if (record.buffers === null || record.buffers.size === 0) record.leader?.threads?.delete(record);
  }
}

/** The VM as the API shows it; `by` says what the process is to it, `vmType` what the kernel says of this very VM. */
export function vmRef(
  named: ProcessRecord | null,
  by: VmBy = 'kvm',
  vmType: number | null = null,
): VmRef | null {
  if (named === null) return null;
  const record = leaderOf(named);
  const { identity } = record;
  return {
    pid: record.pid,
    by,
    kind: vmKind(vmType ?? record.vmType),
    vmm: identity?.vmm ?? null,
    name: identity?.name ?? null,
    uuid: identity?.uuid ?? null,
    pod_uid: identity?.pod_uid ?? null,
    container_id: identity?.container_id ?? null,
  };
}

/** True where the process is known to run a VM: by its command, or because KVM says that it made one. */
export function runsVm(record: ProcessRecord | null | undefined): record is ProcessRecord {
  return record != null && (record.vmType !== null || (record.identity?.vmm ?? null) !== null);
}

/** The VM that a task belongs to. */
export function vmOfTask(record: ProcessRecord | null): VmRef | null {
  return runsVm(record) ? vmRef(record, 'task') : null;
}
