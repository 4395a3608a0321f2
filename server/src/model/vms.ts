import { FifoMap } from '../support/fifo-map.ts';
import type { BufferState } from './buffer-state.ts';
import { leaderOf, type ProcessRecord, runsVm, vmRef } from './processes.ts';
import type { VmBy, VmRef } from './schema.ts';

export interface DeviceVm {
  /** Packed PCI address. */
  device: number;
  vm: VmRef;
}

const LIMIT = 8192;
/** Devices that one sweep looks at. */
const SWEEP_LIMIT = 256;

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
  readonly buffer: BufferState;
  /** Since when its VM has ended and no buffer of the device is left; null where that is not so. */
  endedAt: number | null;
}

/** The VM that each device belongs to, or belonged to until recently: one for each, so that metrics can be joined by it. */
export class VmTable {
  readonly #byDevice = new FifoMap<number, Entry>();
  /** The device that the next sweep begins with; undefined for the oldest. */
  #next: number | undefined;
  /** VMs that were evicted. */
  forgotten = 0;

  /** Inodes of dma-bufs only grow: the newest buffer says whose the device is now. */
  note(buffer: BufferState): void {
    const { device, inode } = buffer;
    const known = this.#byDevice.get(device);
    if (device === 0 || (known !== undefined && known.buffer.inode > inode)) return;
    this.#byDevice.set(device, { buffer, endedAt: null });
    this.forgotten += this.#byDevice.limit(LIMIT);
  }

  drop(device: number): void {
    this.#byDevice.delete(device);
  }

  /**
   * Removes VMs that ended `graceUs` before `now` or earlier and have no buffer left. A sweep looks at a part of the
   * devices where there are many, and the next one goes on from there.
   */
  sweep(now: number, graceUs: number, hasBuffers: (device: number) => boolean): void {
    let device = this.#next;
    if (device === undefined || !this.#byDevice.has(device)) device = this.#byDevice.oldest();
    for (let looked = 0; device !== undefined && looked < SWEEP_LIMIT; looked += 1) {
      const next = this.#byDevice.next(device);
      this.#look(device, now, graceUs, hasBuffers(device));
      device = next;
    }
    this.#next = device;
  }

  #look(device: number, now: number, graceUs: number, hasBuffers: boolean): void {
    const entry = this.#byDevice.get(device);
    if (entry === undefined) return;
    const process = vmProcess(entry.buffer)?.record;
    const lasts = process !== undefined && process.goneAt === null;
    if (lasts || hasBuffers) entry.endedAt = null;
    else entry.endedAt ??= now;
    if (entry.endedAt !== null && now - entry.endedAt >= graceUs) this.#byDevice.delete(device);
  }

  *all(): Generator<DeviceVm> {
    for (const [device, { buffer }] of this.#byDevice.entries()) {
      const vm = vmOf(buffer);
      if (vm !== null) yield { device, vm };
    }
  }
}
