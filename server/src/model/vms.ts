import type { VmBy, VmRef } from '../contract/fields.ts';
import { FifoMap } from '../lib/fifo-map.ts';
import type { Snapshot } from '../protocol/wire.ts';
import type { BufferState } from './buffer-state.ts';
import { leaderOf, type ProcessRecord, type ProcessTable, runsVm, vmRef } from './processes.ts';

export interface DeviceVm {
  /** Packed PCI address. */
  device: number;
  vm: VmRef;
}

const LIMIT = 8192;
/** The most devices that one sweep checks. */
const SWEEP_LIMIT = 256;

type Named = Pick<BufferState, 'vm' | 'deviceHolders'> & { owner: { process: ProcessRecord | null } | null };

/**
 * The VM of a buffer: that of the device's `struct kvm`. Otherwise the exporting task or a process that has the VFIO
 * device open, if that is a known VMM. The struct kvm keeps the pid of a thread that may have ended, and the pid may
 * have been reused by another VM. So a VMM that exported the buffer or has its device open takes precedence over a
 * different pid.
 */
function vmProcess({ vm, owner, deviceHolders }: Named): { record: ProcessRecord; by: VmBy } | null {
  const creator = vm === null ? null : { record: leaderOf(vm), by: 'kvm' as const };
  const exporter = owner?.process;
  if (creator !== null && (creator.record === exporter || deviceHolders.includes(creator.record)))
    return creator;
  if (runsVm(exporter)) return { record: exporter, by: 'owner' };
  const holder = deviceHolders.find(runsVm);
  return holder === undefined ? creator : { record: holder, by: 'holder' };
}

export function vmOf(buffer: Named & Pick<BufferState, 'vmType'>): VmRef | null {
  const found = vmProcess(buffer);
  return found === null ? null : vmRef(found.record, found.by, buffer.vmType);
}

/** The most processes with one device open that are kept. A device has one VM, and a VM has few processes. */
const DEVICE_HOLDERS_LIMIT = 16;

/** The processes that had each device (packed address) open at a snapshot. */
export function deviceHolders(
  { device_holders = [], t_end }: Snapshot,
  processes: ProcessTable,
): Map<number, ProcessRecord[]> {
  const holders = new Map<number, ProcessRecord[]>();
  for (const { device, pid } of device_holders) {
    const process = processes.at(pid, t_end);
    if (process === null) continue;
    const others = holders.get(device);
    if (others === undefined) holders.set(device, [process]);
    else if (others.length < DEVICE_HOLDERS_LIMIT) others.push(process);
  }
  return holders;
}

interface Entry {
  /** The newest known buffer of the device. */
  readonly buffer: BufferState;
  /** Since when its VM has ended and the device has no buffers; null if that is not the case. */
  endedAt: number | null;
}

/** The current or recent VM of each device. At most one per device, so that metrics can be joined on the device. */
export class VmTable {
  readonly #byDevice = new FifoMap<number, Entry>();
  /** The device at which the next sweep starts; undefined means the oldest. */
  #next: number | undefined;
  /** Number of evicted VMs. */
  evicted = 0;

  /** Keeps the newest buffer of each device, which has the current VM. dma-buf inodes only increase. */
  note(buffer: BufferState): void {
    const { device, inode } = buffer;
    const known = this.#byDevice.get(device);
    if (device === 0 || (known !== undefined && known.buffer.inode > inode)) return;
    this.#byDevice.set(device, { buffer, endedAt: null });
    this.evicted += this.#byDevice.limit(LIMIT);
  }

  drop(device: number): void {
    this.#byDevice.delete(device);
  }

  /**
   * Removes VMs that ended at least `graceUs` before `now` and have no buffers left. A sweep checks at most SWEEP_LIMIT
   * devices, and the next sweep continues from there.
   */
  sweep(now: number, graceUs: number, hasBuffers: (device: number) => boolean): void {
    let device = this.#next;
    if (device === undefined || !this.#byDevice.has(device)) device = this.#byDevice.oldest();
    for (let checked = 0; device !== undefined && checked < SWEEP_LIMIT; checked += 1) {
      const next = this.#byDevice.next(device);
      this.#check(device, now, graceUs, hasBuffers(device));
      device = next;
    }
    this.#next = device;
  }

  #check(device: number, now: number, graceUs: number, hasBuffers: boolean): void {
    const entry = this.#byDevice.get(device);
    if (entry === undefined) return;
    const process = vmProcess(entry.buffer)?.record;
    const isRunning = process !== undefined && process.goneAt === null;
    if (isRunning || hasBuffers) entry.endedAt = null;
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
