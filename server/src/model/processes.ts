import type { Process } from '../stream/wire.ts';
import { vmKind } from './naming.ts';
import type { VmRef } from './schema.ts';

/** One process that events name. Buffers keep theirs, so that a pid that is used again does not rename the past. */
export interface ProcessRecord {
  readonly pid: number;
  identity: Process | null;
  /** `kvm->arch.vm_type`, where an event has told it. */
  vmType: number | null;
  gone: boolean;
}

export const PROCESS_LIMIT = 4096;

/** pid -> who it is. Bounded: the ones that have ended go first, then the oldest. */
export class ProcessTable {
  readonly #records = new Map<number, ProcessRecord>();
  readonly #limit: number;

  constructor(limit: number = PROCESS_LIMIT) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#records.size;
  }

  identify(process: Process): void {
    const known = this.#records.get(process.pid);
    const same = known?.identity?.start_ticks === process.start_ticks;
    if (known === undefined || (known.identity !== null && !same) || (known.gone && !same)) {
      this.#add({ pid: process.pid, identity: process, vmType: null, gone: false });
    } else {
      known.identity = process;
    }
  }

  exit(pid: number): void {
    const known = this.#records.get(pid);
    if (known !== undefined) known.gone = true;
  }

  /** The process of a VM; null for pid 0, which is none. */
  vm(pid: number, vmType: number | null = null): ProcessRecord | null {
    if (pid === 0) return null;
    const record = this.#records.get(pid) ?? this.#add({ pid, identity: null, vmType, gone: false });
    if (vmType !== null) record.vmType = vmType;
    return record;
  }

  #add(record: ProcessRecord): ProcessRecord {
    this.#records.delete(record.pid);
    if (this.#records.size >= this.#limit) this.#evict();
    this.#records.set(record.pid, record);
    return record;
  }

  #evict(): void {
    for (const [pid, record] of this.#records) {
      if (!record.gone) continue;
      this.#records.delete(pid);
      return;
    }
    const oldest = this.#records.keys().next();
    if (!oldest.done) this.#records.delete(oldest.value);
  }
}

/** The VM as the world sees it. */
export function vmRef(record: ProcessRecord | null): VmRef | null {
  if (record === null) return null;
  return {
    pid: record.pid,
    kind: vmKind(record.vmType),
    name: record.identity?.name ?? null,
    uuid: record.identity?.uuid ?? null,
  };
}
