import type { VmBy, VmRef } from '../contract/fields.ts';
import { FifoMap } from '../lib/fifo-map.ts';
import { type Exit, type Process, startMicros } from '../protocol/wire.ts';
import { vmKind } from './naming.ts';

/** A task as named by an event, and its process. */
export interface Task {
  readonly pid: number;
  readonly comm: string;
  /** Time of the event; microseconds since boot. */
  readonly t: number;
  process: ProcessRecord | null;
}

/** One process that events name. Buffers refer to the record, so a reused pid does not change past owners. */
export interface ProcessRecord {
  readonly pid: number;
  identity: Process | null;
  /** The process, if this pid is another of its threads. */
  leader: ProcessRecord | null;
  /** Kind of its VM, an index of VM_KINDS; null if no event reported it. */
  vmType: number | null;
  /** When it was first named, and when it ended; microseconds since boot. */
  readonly since: number;
  goneAt: number | null;
  /** The previous process with this pid. Its events may arrive after the line that reports the next one. */
  previous: ProcessRecord | null;
  /**
   * Inodes of the buffers whose owner or VM it is, and importer tasks of it; kept up to date by `BufferTable`. Null if
   * there are none.
   */
  buffers: Set<number> | null;
  tasks: Set<Task> | null;
  /** Records of its other threads, if known. */
  threads: Set<ProcessRecord> | null;
}

/** A pid was reused: what it names at `since` or later belongs to `to`. */
export interface Takeover {
  from: ProcessRecord;
  to: ProcessRecord;
  since: number;
}

export const PROCESS_LIMIT = 8192;

/** The process of a record, which may be a thread: KVM names a VM by the thread that created it. */
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
 * Processes by pid, up to a limit. It evicts processes that have ended first, then the oldest that does not run a VM,
 * then the oldest. Each record is in one of three queues, so that an eviction does not search.
 */
export class ProcessTable {
  readonly #records = new Map<number, ProcessRecord>();
  readonly #ended = new FifoMap<ProcessRecord, true>();
  /** Records not known to run a VM. That may change: such a record moves to `#vms` when it becomes the oldest. */
  readonly #others = new FifoMap<ProcessRecord, true>();
  readonly #vms = new FifoMap<ProcessRecord, true>();
  readonly #limit: number;
  /** Number of processes that were evicted before they were known to have ended. */
  evicted = 0;

  constructor(limit: number = PROCESS_LIMIT) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#records.size;
  }

  /**
   * Inserts or updates the identity of a process. Returns the takeover if the pid belonged to another process before.
   */
  identify(process: Process): Takeover | null {
    const takeover = this.#upsert(process);
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

  #upsert(process: Process): Takeover | null {
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

  /** Marks a process as ended and returns it. Null if it is not known any more, or its end is already known. */
  exit({ pid, t, start_ticks }: Exit): ProcessRecord | null {
    // The line may arrive before the events of the process.
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
   * The process that had this pid at the time t: one that started at t or before, and had not ended before t. Null for
   * pid 0, which is not a process.
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
      // Keep only one previous process: no event is later than that.
      previous.previous = null;
      this.#drop(previous);
    }
    if (this.#records.size >= this.#limit) this.#evict();
    this.#records.set(record.pid, record);
    this.#others.set(record, true);
    return record;
  }

  /** The collector reports the end of owners only. So an importer that ended long ago still appears to be running. */
  #evict(): void {
    const ended = this.#ended.oldest();
    if (ended !== undefined) {
      this.#drop(ended);
      return;
    }
    this.evicted += 1;
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

  /** Removes a record from the table. Buffers may still refer to it. */
  #drop(record: ProcessRecord): void {
    this.#records.delete(record.pid);
    this.#ended.delete(record);
    this.#others.delete(record);
    this.#vms.delete(record);
    if (record.buffers === null || record.buffers.size === 0) record.leader?.threads?.delete(record);
  }
}

/** The VM as the API shows it. `by`: how the process was found. `vmType`: the kernel's kind of this VM, if known. */
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
    pod_name: identity?.pod_name ?? null,
    pod_namespace: identity?.pod_namespace ?? null,
    container_id: identity?.container_id ?? null,
    container_name: identity?.container_name ?? null,
  };
}

/** Whether the process is known to run a VM: by its command line, or because KVM reported it as a VM's creator. */
export function runsVm(record: ProcessRecord | null | undefined): record is ProcessRecord {
  return record != null && (record.vmType !== null || (record.identity?.vmm ?? null) !== null);
}

/** The VM that a task belongs to. */
export function vmOfTask(record: ProcessRecord | null): VmRef | null {
  return runsVm(record) ? vmRef(record, 'task') : null;
}
