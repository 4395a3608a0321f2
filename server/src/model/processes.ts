import { type Exit, type Process, startMicros } from '../stream/wire.ts';
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
  /** Who had the number before: events may come after the line that tells of the next one. */
  previous: ProcessRecord | null;
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

/** pid -> who it is. Bounded: the ones that have ended go first, then the oldest that is no VM, then the oldest. */
export class ProcessTable {
  readonly #records = new Map<number, ProcessRecord>();
  readonly #limit: number;
  /** Processes that had not ended and made room for others. */
  forgotten = 0;

  constructor(limit: number = PROCESS_LIMIT) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#records.size;
  }

  /** Takes in who a process is; tells where the number was another's before. */
  identify(process: Process): Takeover | null {
    const takeover = this.#take(process);
    const { pid, t, tgid } = process;
    const record = this.#records.get(pid);
    const leader = tgid === undefined ? null : this.at(tgid, t);
    if (record === undefined || leader === null) return takeover;
    record.leader = leader;
    leader.vmType ??= record.vmType;
    return takeover;
  }

  #take(process: Process): Takeover | null {
    const { pid, t } = process;
    const start = startMicros(process.start_ticks);
    const known = this.#records.get(pid);
    if (known === undefined) {
      this.#add({
        pid,
        identity: process,
        leader: null,
        vmType: null,
        since: t,
        goneAt: null,
        previous: null,
      });
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
    const to = this.#add({
      pid,
      identity: process,
      leader: null,
      vmType: null,
      since: start,
      goneAt: null,
      previous: known,
    });
    return { from: known, to, since: start };
  }

  /** The process that has ended; null where it is too long ago to be known. */
  exit({ pid, t, start_ticks }: Exit): ProcessRecord | null {
    // It may be told before the events of what it did.
    let record: ProcessRecord | null =
      this.#records.get(pid) ??
      this.#add({ pid, identity: null, leader: null, vmType: null, since: t, goneAt: null, previous: null });
    const isAnother = ({ identity }: ProcessRecord): boolean =>
      identity !== null && start_ticks !== undefined && identity.start_ticks !== start_ticks;
    if (isAnother(record)) record = record.previous;
    if (record === null || isAnother(record)) return null;
    record.goneAt ??= t;
    return record;
  }

  /**
   * Who had the number at the time t: not one that started later, nor one that had ended before. Null for pid 0, which is
   * no process.
   */
  at(pid: number, t: number, vmType: number | null = null): ProcessRecord | null {
    if (pid === 0) return null;
    let record = this.#records.get(pid);
    const anonymous = { pid, identity: null, leader: null, vmType: null, since: t, goneAt: null };
    if (record === undefined) {
      record = this.#add({ ...anonymous, previous: null });
    } else if (record.identity !== null && startMicros(record.identity.start_ticks) > t) {
      record.previous ??= { ...anonymous, goneAt: t, previous: null };
      record = record.previous;
    } else if (t > (record.goneAt ?? record.leader?.goneAt ?? t)) {
      record = this.#add({ ...anonymous, previous: record });
    }
    if (vmType !== null) leaderOf(record).vmType = vmType;
    return record;
  }

  #add(record: ProcessRecord): ProcessRecord {
    // One that came before is enough: no event is that late.
    if (record.previous !== null) record.previous.previous = null;
    this.#records.delete(record.pid);
    if (this.#records.size >= this.#limit) this.#evict();
    this.#records.set(record.pid, record);
    return record;
  }

  /** Only the end of those that own something is told, so what imported once and ended long ago looks alive. */
  #evict(): void {
    let other: number | undefined;
    for (const [pid, record] of this.#records) {
      if (record.goneAt !== null) {
        this.#records.delete(pid);
        return;
      }
      if (!runsVm(leaderOf(record))) other ??= pid;
    }
    other ??= this.#records.keys().next().value;
    if (other !== undefined) this.#records.delete(other);
    this.forgotten += 1;
  }
}

/** The VM as the world sees it; `by` says what the process is to it, `vmType` what the kernel says of this very VM. */
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
