import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import pLimit, { type LimitFunction } from 'p-limit';
import { type ProcessFacts, readProcess } from '../host/identity.ts';
import { packPciAddress } from '../host/pci.ts';
import { PciIds } from '../host/pci-ids.ts';
import { type ProcStat, readStat } from '../host/proc.ts';
import { FifoMap } from '../lib/fifo-map.ts';
import { type CollectorLine, startMicros } from '../protocol/wire.ts';
import { DeviceReporter } from './device-reporter.ts';
import type { HostErrors } from './host-errors.ts';

export interface IdentityReporterOptions {
  procRoot: string;
  sysRoot: string;
  bootUs: () => number;
  emit: (line: CollectorLine) => void;
  /** Called when a process that owned buffers or a VM has ended. */
  onOwnerExit: () => void;
  /** Counts processes and devices that may exist but could not be read. */
  errors?: Pick<HostErrors, 'note'>;
  /** Source of the names of devices; default: the list of this host. */
  pciIds?: PciIds;
  /** Maximum number of processes, and of devices, that are tracked; default 8192 each. */
  limit?: number;
}

const ENDED = -1;
/** It could not be read: the next poll retries. */
const UNREAD = -2;
/** An owner that an event names is checked at most this often: a pid cannot be reused within this time. */
const RECHECK_US = 100_000;
/** Maximum number of concurrent reads of processes and devices: each one opens files. */
const READS_LIMIT = 16;

interface Known {
  /** Null while it is read, ENDED if it has ended, UNREAD if it could not be read. */
  startTicks: number | null;
  owner: boolean;
  /** It is a thread: its end is not the end of its process. */
  thread: boolean;
  /** Its end was reported; it is reported once. */
  endReported: boolean;
  /**
   * An event has named the pid since the last check. The event may have meant another process that got the same pid.
   */
  named: boolean;
  /** Time of the event that caused the last check, in microseconds since boot. */
  checkedAt: number;
  /** Time of the latest event that named it, in microseconds since boot. */
  namedAt: number;
}

/** Reports the identity of each process and device once, and when an owner process ends or a device departs. */
export class IdentityReporter {
  readonly #options: IdentityReporterOptions;
  readonly #limit: number;
  readonly #processes = new FifoMap<number, Known>();
  /** Processes that have ended or own nothing: they are evicted first. */
  readonly #idle = new FifoMap<number, true>();
  readonly #devices: DeviceReporter;
  readonly #reads = new Set<Promise<void>>();
  readonly #limitReads: LimitFunction = pLimit(READS_LIMIT);
  readonly #errors: Pick<HostErrors, 'note'>;

  constructor(options: IdentityReporterOptions) {
    this.#options = options;
    const {
      sysRoot,
      bootUs,
      emit,
      errors = { note: () => {} },
      pciIds = new PciIds(),
      limit = 8192,
    } = options;
    this.#limit = limit;
    this.#errors = errors;
    this.#devices = new DeviceReporter({
      sysRoot,
      bootUs,
      emit,
      pciIds,
      errors,
      limit,
      limitReads: this.#limitReads,
    });
  }

  /**
   * An event or a snapshot named this process.
   *
   * @param owner whether it owns buffers or a VM, so that its end is reported
   * @param t time of the event, in microseconds since boot
   */
  seeProcess(pid: number, owner: boolean, t: number): void {
    if (pid <= 0) return;
    const known = this.#processes.get(pid);
    if (known !== undefined) {
      known.owner ||= owner;
      known.named = true;
      known.namedAt = Math.max(known.namedAt, t);
      this.#updateIdle(pid, known);
      // Another process may have the pid now.
      if (known.startTicks === ENDED) {
        this.#track(this.#identify(pid, known, t));
      } else if (owner && t - known.checkedAt > RECHECK_US) {
        known.checkedAt = t;
        this.#track(this.#check(pid, known));
      }
      return;
    }
    this.#evictAtLimit();
    const entry: Known = {
      startTicks: null,
      owner,
      thread: false,
      endReported: false,
      named: false,
      checkedAt: t,
      namedAt: t,
    };
    this.#processes.set(pid, entry);
    this.#updateIdle(pid, entry);
    this.#track(this.#identify(pid, entry, t));
  }

  /** An event named this device (`domain << 16 | bus << 8 | devfn`) as the exporter of its memory. */
  seeDevice(packed: number): void {
    if (packed > 0) this.#track(this.#devices.see(packed, true));
  }

  /** An event named this device as importer. Only the name of a PCI device is an address; others are ignored. */
  seeImporter(name: string): void {
    const packed = packPciAddress(name);
    if (packed !== null) this.#track(this.#devices.see(packed, false));
  }

  /**
   * Facts of devices may have changed while nothing was traced: the next event that names a device reports it again.
   */
  invalidateDevices(): void {
    this.#devices.invalidate();
  }

  /** Checks whether processes have ended, and whether devices have departed or changed. */
  async poll(): Promise<void> {
    let checked = 0;
    for (const [pid, entry] of [...this.#processes.entries()]) {
      if (++checked % 128 === 0) await yieldToEventLoop();
      await this.#check(pid, entry);
    }
    await this.#devices.poll();
  }

  async #check(pid: number, entry: Known): Promise<void> {
    const { named, startTicks } = entry;
    if (startTicks === null || startTicks === ENDED) return;
    if (startTicks === UNREAD) {
      await this.#identify(pid, entry, entry.checkedAt);
      return;
    }
    entry.named = false;
    let stat: ProcStat | null;
    try {
      stat = await this.#limitReads(() => readStat(this.#options.procRoot, pid));
    } catch (error) {
      // It counts as unchanged until it can be read again.
      entry.named ||= named;
      this.#errors.note('process', error);
      return;
    }
    // A concurrent check may have updated the entry first.
    if (entry.startTicks !== startTicks || (stat?.startTicks ?? ENDED) === startTicks) return;
    if (entry.owner) this.#reportEnd(pid, entry, stat === null);
    entry.startTicks = ENDED;
    this.#updateIdle(pid, entry);
    if (stat === null) return;
    this.#processes.delete(pid);
    this.#idle.delete(pid);
    // The process that got the pid is reported when an event names it; now, if an event may have named it already.
    if (named) this.seeProcess(pid, entry.owner, this.#options.bootUs());
  }

  /** Resolves when no read is pending. */
  async settled(): Promise<void> {
    while (this.#reads.size > 0) await Promise.all(this.#reads);
  }

  async #identify(pid: number, entry: Known, t: number): Promise<void> {
    entry.startTicks = null;
    let facts: ProcessFacts | null;
    try {
      facts = await this.#limitReads(() => readProcess(this.#options.procRoot, pid));
    } catch (error) {
      entry.startTicks = UNREAD;
      this.#errors.note('process', error);
      return;
    }
    if (facts === null) {
      entry.startTicks = ENDED;
      this.#updateIdle(pid, entry);
      if (entry.owner) this.#reportEnd(pid, entry, true);
      return;
    }
    // It started after the event: the named process has ended, and another one has the pid. The end is reported before
    // the new one.
    if (entry.owner && startMicros(facts.start_ticks) > t) this.#reportEnd(pid, entry, false);
    entry.startTicks = facts.start_ticks;
    this.#updateIdle(pid, entry);
    entry.thread = facts.tgid !== undefined;
    entry.endReported = false;
    const now = this.#options.bootUs();
    this.#options.emit({ type: 'process', data: { t: now, ...facts } });
    if (facts.tgid !== undefined) this.seeProcess(facts.tgid, entry.owner, now);
  }

  /** `free`: no other process has the pid now, so all events that named it meant the process that has ended. */
  #reportEnd(pid: number, entry: Known, free: boolean): void {
    const { startTicks, namedAt, endReported, thread } = entry;
    if (endReported || thread) return;
    entry.endReported = true;
    // This clock may be some milliseconds behind the kernel's. An end before the event would belong to another process.
    const t = free ? Math.max(this.#options.bootUs(), namedAt) : this.#options.bootUs();
    const start = startTicks === null || startTicks < 0 ? {} : { start_ticks: startTicks };
    this.#options.emit({ type: 'exit', data: { t, pid, ...start } });
    this.#options.onOwnerExit();
  }

  /** At the limit, evicts the oldest process that has ended or owns nothing; if there is none, the oldest process. */
  #evictAtLimit(): void {
    if (this.#processes.size < this.#limit) return;
    const oldest = this.#idle.oldest() ?? this.#processes.oldest();
    if (oldest === undefined) return;
    this.#processes.delete(oldest);
    this.#idle.delete(oldest);
  }

  /** Updates `idle` after a change of `owner` or `startTicks`. */
  #updateIdle(pid: number, entry: Known): void {
    // The entry may have been evicted while it was read.
    if (this.#processes.get(pid) !== entry) return;
    if (entry.owner && entry.startTicks !== ENDED) this.#idle.delete(pid);
    else if (!this.#idle.has(pid)) this.#idle.set(pid, true);
  }

  #track(read: Promise<void> | undefined): void {
    if (read === undefined) return;
    this.#reads.add(read);
    void read.finally(() => this.#reads.delete(read));
  }
}
