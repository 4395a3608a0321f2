import { setImmediate as breathe } from 'node:timers/promises';
import type { CollectorLine } from '../../stream/wire.ts';
import { readProcess } from './identity.ts';
import { pciAddress, readPci } from './pci.ts';
import { readStat } from './proc.ts';

export interface IdentityWatchOptions {
  procRoot: string;
  sysRoot: string;
  bootUs: () => number;
  emit: (line: CollectorLine) => void;
  /** A process that owned buffers or a VM has ended. */
  onOwnerExit: () => void;
  /** Most processes and most devices that are remembered; default 4096. */
  limit?: number;
}

const GONE = -1;

interface Known {
  /** Null while it is being read, GONE where it had ended before that: remembered, so that its end is told once. */
  startTicks: number | null;
  owner: boolean;
}

/** Tells once who a process and what a device is, and when a process that owned something has ended. */
export class IdentityWatch {
  private readonly options: IdentityWatchOptions;
  private readonly limit: number;
  private readonly processes = new Map<number, Known>();
  private readonly devices = new Set<number>();
  private readonly reads = new Set<Promise<void>>();

  constructor(options: IdentityWatchOptions) {
    this.options = options;
    this.limit = options.limit ?? 4096;
  }

  /** An event named this process; `owner` where it owns buffers or a VM, so that its end matters. */
  seeProcess(pid: number, owner: boolean): void {
    if (pid <= 0) return;
    const known = this.processes.get(pid);
    if (known !== undefined) {
      const isNew = owner && !known.owner;
      known.owner ||= owner;
      if (isNew && known.startTicks === GONE) this.ownerEnded(pid);
      return;
    }
    this.makeRoom();
    const entry: Known = { startTicks: null, owner };
    this.processes.set(pid, entry);
    this.track(this.introduce(pid, entry));
  }

  /** An event named this device (`domain << 16 | bus << 8 | devfn`). */
  seeDevice(packed: number): void {
    if (packed <= 0 || this.devices.has(packed) || this.devices.size >= this.limit) return;
    this.devices.add(packed);
    this.track(this.introduceDevice(packed));
  }

  /** Facts of devices may have changed while nothing was watched: the next event tells them again. */
  forgetDevices(): void {
    this.devices.clear();
  }

  /** Looks whether the processes are still the ones they were. */
  async poll(): Promise<void> {
    let looked = 0;
    for (const [pid, entry] of [...this.processes]) {
      if (entry.startTicks === null) continue;
      const stat = await readStat(this.options.procRoot, pid);
      if (++looked % 128 === 0) await breathe();
      if ((stat?.startTicks ?? GONE) === entry.startTicks) continue;
      if (entry.startTicks !== GONE && entry.owner) this.ownerEnded(pid);
      // A process that took over the number is told when an event names it.
      if (stat === null) entry.startTicks = GONE;
      else this.processes.delete(pid);
    }
  }

  /** Resolves when everything that was seen so far has been read. */
  async settled(): Promise<void> {
    while (this.reads.size > 0) await Promise.all(this.reads);
  }

  private async introduce(pid: number, entry: Known): Promise<void> {
    const facts = await readProcess(this.options.procRoot, pid);
    if (facts === null) {
      entry.startTicks = GONE;
      if (entry.owner) this.ownerEnded(pid);
      return;
    }
    entry.startTicks = facts.start_ticks;
    const { start_ticks, comm, vmm, name, uuid } = facts;
    this.options.emit({
      type: 'process',
      data: { t: this.options.bootUs(), pid, start_ticks, comm, vmm, name, uuid },
    });
  }

  private async introduceDevice(packed: number): Promise<void> {
    const facts = await readPci(this.options.sysRoot, pciAddress(packed));
    if (facts === null) return;
    this.options.emit({ type: 'device', data: { t: this.options.bootUs(), ...facts } });
  }

  private ownerEnded(pid: number): void {
    this.options.emit({ type: 'exit', data: { t: this.options.bootUs(), pid } });
    this.options.onOwnerExit();
  }

  /** Gives up the process that was first seen, one that owns nothing if there is such. */
  private makeRoom(): void {
    if (this.processes.size < this.limit) return;
    const oldest = [...this.processes].find(([, entry]) => !entry.owner) ?? [...this.processes][0];
    if (oldest !== undefined) this.processes.delete(oldest[0]);
  }

  private track(read: Promise<void>): void {
    this.reads.add(read);
    void read.finally(() => this.reads.delete(read));
  }
}
