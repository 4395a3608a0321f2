import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import pLimit, { type LimitFunction } from 'p-limit';
import { type CollectorLine, startMicros } from '../../stream/wire.ts';
import { FifoMap } from '../../support/fifo-map.ts';
import { DeviceWatch } from './device-watch.ts';
import type { OnHostError } from './host-errors.ts';
import { type ProcessFacts, readProcess } from './identity.ts';
import { packPciAddress } from './pci.ts';
import { PciIds } from './pci-ids.ts';
import { type ProcStat, readStat } from './proc.ts';

export interface IdentityWatchOptions {
  procRoot: string;
  sysRoot: string;
  bootUs: () => number;
  emit: (line: CollectorLine) => void;
  /** A process that owned buffers or a VM has ended. */
  onOwnerExit: () => void;
  /** A process or a device could not be read now, though it may exist. */
  onError?: OnHostError;
  /** Where names of devices come from; default: the host's list. */
  pciIds?: PciIds;
  /** Most processes and most devices that are remembered; default 8192. */
  limit?: number;
}

const GONE = -1;
/** It could not be read: the next poll tries again. */
const UNREAD = -2;
/** An owner that is named is looked at again after this time: no number comes round sooner. */
const LOOK_US = 100_000;
/** Processes and devices that are read at the same time: each has files open meanwhile. */
const READS_LIMIT = 16;

interface Known {
  /** Null while it is being read, GONE where it has ended, UNREAD where it could not be read. */
  startTicks: number | null;
  owner: boolean;
  /** It is a thread, whose end is not that of its process. */
  thread: boolean;
  /** Its end was reported: that is done once. */
  ended: boolean;
  /** An event has named the pid since it was last looked at: that may have been a process that took it over. */
  named: boolean;
  /** Time of the event that had it looked at last, microseconds since boot. */
  lookedAt: number;
  /** Time of the latest event that named it, microseconds since boot. */
  namedAt: number;
}

/** Tells once who a process and what a device is, and when a process that owned something or a device has gone. */
export class IdentityWatch {
  private readonly options: IdentityWatchOptions;
  private readonly limit: number;
  private readonly processes = new FifoMap<number, Known>();
  /** Those that have ended or own nothing: they are evicted first. */
  private readonly idle = new FifoMap<number, true>();
  private readonly devices: DeviceWatch;
  private readonly reads = new Set<Promise<void>>();
  private readonly limitReads: LimitFunction = pLimit(READS_LIMIT);
  private readonly onError: OnHostError;

  constructor(options: IdentityWatchOptions) {
    this.options = options;
    const { sysRoot, bootUs, emit, onError = () => {}, pciIds = new PciIds(), limit = 8192 } = options;
    this.limit = limit;
    this.onError = onError;
    this.devices = new DeviceWatch({
      sysRoot,
      bootUs,
      emit,
      pciIds,
      onError,
      limit,
      limitReads: this.limitReads,
    });
  }

  /**
   * Something named this process at the time t (microseconds since boot); `owner` where it owns buffers or a VM, so that
   * its end matters.
   */
  seeProcess(pid: number, owner: boolean, t: number): void {
    if (pid <= 0) return;
    const known = this.processes.get(pid);
    if (known !== undefined) {
      known.owner ||= owner;
      known.named = true;
      known.namedAt = Math.max(known.namedAt, t);
      this.index(pid, known);
      // The number may be another's by now.
      if (known.startTicks === GONE) {
        this.track(this.introduce(pid, known, t));
      } else if (owner && t - known.lookedAt > LOOK_US) {
        known.lookedAt = t;
        this.track(this.look(pid, known));
      }
      return;
    }
    this.makeRoom();
    const entry: Known = {
      startTicks: null,
      owner,
      thread: false,
      ended: false,
      named: false,
      lookedAt: t,
      namedAt: t,
    };
    this.processes.set(pid, entry);
    this.index(pid, entry);
    this.track(this.introduce(pid, entry, t));
  }

  /** An event named this device (`domain << 16 | bus << 8 | devfn`) as the one whose memory it is. */
  seeDevice(packed: number): void {
    if (packed > 0) this.track(this.devices.see(packed, true));
  }

  /** An event named this device as the one that imports; only a PCI device has an address for its name. */
  seeImporter(name: string): void {
    const packed = packPciAddress(name);
    if (packed !== null) this.track(this.devices.see(packed, false));
  }

  /** Facts of devices may have changed while nothing was watched: the next event tells them again. */
  forgetDevices(): void {
    this.devices.forget();
  }

  /** Looks whether processes and devices are still the ones they were. */
  async poll(): Promise<void> {
    let looked = 0;
    for (const [pid, entry] of [...this.processes.entries()]) {
      if (++looked % 128 === 0) await yieldToEventLoop();
      await this.look(pid, entry);
    }
    await this.devices.poll();
  }

  private async look(pid: number, entry: Known): Promise<void> {
    const { named, startTicks } = entry;
    if (startTicks === null || startTicks === GONE) return;
    if (startTicks === UNREAD) {
      await this.introduce(pid, entry, entry.lookedAt);
      return;
    }
    entry.named = false;
    let stat: ProcStat | null;
    try {
      stat = await this.limitReads(() => readStat(this.options.procRoot, pid));
    } catch (error) {
      // It is taken for what it was until it can be read again.
      entry.named ||= named;
      this.onError('process', error);
      return;
    }
    // Another look may have been faster.
    if (entry.startTicks !== startTicks || (stat?.startTicks ?? GONE) === startTicks) return;
    if (entry.owner) this.ownerEnded(pid, entry, stat === null);
    entry.startTicks = GONE;
    this.index(pid, entry);
    if (stat === null) return;
    this.processes.delete(pid);
    this.idle.delete(pid);
    // A process that took over the number is told when an event names it, or now where one may have done so already.
    if (named) this.seeProcess(pid, entry.owner, this.options.bootUs());
  }

  /** Resolves when everything that was seen so far has been read. */
  async settled(): Promise<void> {
    while (this.reads.size > 0) await Promise.all(this.reads);
  }

  private async introduce(pid: number, entry: Known, t: number): Promise<void> {
    entry.startTicks = null;
    let facts: ProcessFacts | null;
    try {
      facts = await this.limitReads(() => readProcess(this.options.procRoot, pid));
    } catch (error) {
      entry.startTicks = UNREAD;
      this.onError('process', error);
      return;
    }
    if (facts === null) {
      entry.startTicks = GONE;
      this.index(pid, entry);
      if (entry.owner) this.ownerEnded(pid, entry, true);
      return;
    }
    // Who was named has ended, and another process has its number: that one is told, and cannot be taken for the first.
    if (entry.owner && startMicros(facts.start_ticks) > t) this.ownerEnded(pid, entry, false);
    entry.startTicks = facts.start_ticks;
    this.index(pid, entry);
    entry.thread = facts.tgid !== undefined;
    entry.ended = false;
    const now = this.options.bootUs();
    this.options.emit({ type: 'process', data: { t: now, ...facts } });
    if (facts.tgid !== undefined) this.seeProcess(facts.tgid, entry.owner, now);
  }

  /** `free`: no other process has the number now, so every event that named it was of the one that has ended. */
  private ownerEnded(pid: number, entry: Known, free: boolean): void {
    const { startTicks, namedAt, ended, thread } = entry;
    if (ended || thread) return;
    entry.ended = true;
    // This clock may be some milliseconds behind the kernel's: an end before the event would be that of another process.
    const t = free ? Math.max(this.options.bootUs(), namedAt) : this.options.bootUs();
    const start = startTicks === null || startTicks < 0 ? {} : { start_ticks: startTicks };
    this.options.emit({ type: 'exit', data: { t, pid, ...start } });
    this.options.onOwnerExit();
  }

  /** Evicts the oldest process, one that has ended or owns nothing if there is such. */
  private makeRoom(): void {
    if (this.processes.size < this.limit) return;
    const oldest = this.idle.oldest() ?? this.processes.oldest();
    if (oldest === undefined) return;
    this.processes.delete(oldest);
    this.idle.delete(oldest);
  }

  /** To be called after each change of what decides who is evicted first. */
  private index(pid: number, entry: Known): void {
    // A read that has ended late may be of an entry that was evicted.
    if (this.processes.get(pid) !== entry) return;
    if (entry.owner && entry.startTicks !== GONE) this.idle.delete(pid);
    else if (!this.idle.has(pid)) this.idle.set(pid, true);
  }

  private track(read: Promise<void> | undefined): void {
    if (read === undefined) return;
    this.reads.add(read);
    void read.finally(() => this.reads.delete(read));
  }
}
