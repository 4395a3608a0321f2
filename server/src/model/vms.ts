import type { BufferState } from './buffer-state.ts';
import { leaderOf, type ProcessRecord, runsVm, vmRef } from './processes.ts';
import type { VmBy, VmRef } from './schema.ts';

export interface DeviceVm {
  /** Packed PCI address. */
  device: number;
  vm: VmRef;
}

const LIMIT = 8192;

type Named = Pick<BufferState, 'vm' | 'deviceHolders'> & { owner: { process: ProcessRecord | null } | null };

/**
 * Whose VM a buffer is: that of the device's `struct kvm`; else the exporting task, or who has the VFIO device open,
 * where that is a known VMM. The struct kvm keeps the number of a thread that may have ended, and another VM may have the
 * number by now: against a VMM that exported the buffer or has its device open, the number alone proves nothing.
 */
function vmProcess({ vm, owner, deviceHolders }: Named): { record: ProcessRecord; by: VmBy } | null {
  const maker = vm === null ? null : { record: leaderOf(vm), by: 'kvm' as const };
  const exporter = owner?.process;
  if (maker !== null && (maker.record === exporter || deviceHolders.includes(maker.record))) return maker;
  if (runsVm(exporter)) return { record: exporter, by: 'owner' };
  const holder = deviceHolders.find(runsVm);
  return holder === undefined ? maker : { record: holder, by: 'holder' };
}

export function vmOf(buffer: Named & Pick<BufferState, 'vmType'>): VmRef | null {
  const found = vmProcess(buffer);
  return found === null ? null : vmRef(found.record, found.by, buffer.vmType);
}

interface Entry {
  /** The newest buffer of the device that was seen. */
  buffer: BufferState;
  /** Since when its VM has ended and no buffer of the device is left; null where that is not so. */
  endedAt: number | null;
}

/** The VM that each device belongs to, or belonged to until lately: one for each, so that metrics can be joined by it. */
export class VmTable {
  readonly #byDevice = new Map<number, Entry>();
  /** VMs that made room for others. */
  forgotten = 0;

  /** Inodes of dma-bufs only grow: the newest buffer says whose the device is now. */
  note(buffer: BufferState): void {
    const { device, inode } = buffer;
    const known = this.#byDevice.get(device);
    if (device === 0 || (known !== undefined && known.buffer.inode > inode)) return;
    this.#byDevice.delete(device);
    this.#byDevice.set(device, { buffer, endedAt: null });
    if (this.#byDevice.size <= LIMIT) return;
    const oldest = this.#byDevice.keys().next();
    if (!oldest.done) this.#byDevice.delete(oldest.value);
    this.forgotten += 1;
  }

  drop(device: number): void {
    this.#byDevice.delete(device);
  }

  /** Lets go of the VMs that ended `graceUs` before `now`. */
  sweep(now: number, graceUs: number, alive: Iterable<BufferState>): void {
    let held: Set<number> | null = null;
    for (const [device, entry] of this.#byDevice) {
      const process = vmProcess(entry.buffer)?.record;
      if (process !== undefined && process.goneAt === null) {
        entry.endedAt = null;
        continue;
      }
      held ??= new Set(Array.from(alive, (buffer) => buffer.device));
      if (held.has(device)) entry.endedAt = null;
      else entry.endedAt ??= now;
      if (entry.endedAt !== null && now - entry.endedAt >= graceUs) this.#byDevice.delete(device);
    }
  }

  *all(): Generator<DeviceVm> {
    for (const [device, { buffer }] of this.#byDevice) {
      const vm = vmOf(buffer);
      if (vm !== null) yield { device, vm };
    }
  }
}
