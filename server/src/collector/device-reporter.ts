import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import type { LimitFunction } from 'p-limit';
import { isVfioDevice, pciAddress, readDriver, readPci } from '../host/pci.ts';
import type { PciIds } from '../host/pci-ids.ts';
import { FifoMap } from '../lib/fifo-map.ts';
import type { CollectorLine } from '../protocol/wire.ts';
import type { HostErrors } from './host-errors.ts';

export interface DeviceReporterOptions {
  sysRoot: string;
  bootUs: () => number;
  emit: (line: CollectorLine) => void;
  pciIds: PciIds;
  errors: Pick<HostErrors, 'note'>;
  /** Maximum number of devices that are tracked. */
  limit: number;
  limitReads: LimitFunction;
}

interface Known {
  /**
   * It has exported, so it has departed if no VFIO driver is bound to it. A device that only imports departs with its
   * sysfs entry.
   */
  exporter: boolean;
  /** False if the next event that names it must report its facts again. */
  reported: boolean;
  /** Null if there is no such device. */
  driver: string | null;
  departed: boolean;
  reading: boolean;
  /** It could not be read: the next poll retries, also if the driver is the same. */
  unread: boolean;
}

/** Reports the facts of PCI devices, at first sight and after each change of the driver, and when a device departs. */
export class DeviceReporter {
  readonly #options: DeviceReporterOptions;
  readonly #devices = new FifoMap<number, Known>();
  /** Devices that have departed, the longest ago first. */
  readonly #departed = new FifoMap<number, true>();

  constructor(options: DeviceReporterOptions) {
    this.#options = options;
  }

  /**
   * An event named this device (`domain << 16 | bus << 8 | devfn`).
   * @returns a promise that resolves when the device was reported; undefined if it was reported before
   */
  see(packed: number, exporter: boolean): Promise<void> | undefined {
    const known = this.#devices.get(packed);
    if (known === undefined) {
      this.#evictAtLimit();
      const entry: Known = {
        exporter,
        reported: true,
        driver: null,
        departed: false,
        reading: false,
        unread: false,
      };
      this.#devices.set(packed, entry);
      return this.#report(packed, entry);
    }
    known.exporter ||= exporter;
    if (known.reported) return undefined;
    known.reported = true;
    return this.#report(packed, known);
  }

  /** Facts may have changed while nothing was traced: the next event that names a device reports it again. */
  invalidate(): void {
    for (const known of this.#devices.values()) known.reported = false;
  }

  /** Reports devices that departed, returned, or have another driver. */
  async poll(): Promise<void> {
    let checked = 0;
    for (const [packed, known] of [...this.#devices.entries()]) {
      if (++checked % 128 === 0) await yieldToEventLoop();
      if (known.reading) continue;
      try {
        const driver = await readDriver(this.#options.sysRoot, pciAddress(packed));
        if (driver !== known.driver || known.unread) await this.#report(packed, known);
      } catch (error) {
        this.#options.errors.note('device', error);
      }
    }
  }

  async #report(packed: number, known: Known): Promise<void> {
    known.reading = true;
    try {
      await this.#options.limitReads(() => this.#read(packed, known));
      known.unread = false;
    } catch (error) {
      known.unread = true;
      this.#options.errors.note('device', error);
    }
    known.reading = false;
  }

  async #read(packed: number, known: Known): Promise<void> {
    const { sysRoot, pciIds, emit, bootUs } = this.#options;
    const device = pciAddress(packed);
    const facts = await readPci(sysRoot, device, pciIds);
    const present =
      facts !== null && (!known.exporter || (await isVfioDevice(sysRoot, device, facts.driver)));
    known.driver = facts?.driver ?? null;
    if (facts !== null) {
      // A departed device is reported again when it returns, not for each other driver that it gets until then.
      if (present || !known.departed) emit({ type: 'device', data: { t: bootUs(), ...facts } });
      if (present) {
        known.departed = false;
        this.#departed.delete(packed);
        return;
      }
    }
    if (!known.departed) emit({ type: 'device_gone', data: { t: bootUs(), device } });
    known.departed = true;
    if (this.#devices.get(packed) === known && !this.#departed.has(packed)) this.#departed.set(packed, true);
  }

  /** At the limit, evicts the device that departed first; if none has departed, the one that was inserted first. */
  #evictAtLimit(): void {
    if (this.#devices.size < this.#options.limit) return;
    const oldest = this.#departed.oldest() ?? this.#devices.oldest();
    if (oldest === undefined) return;
    this.#devices.delete(oldest);
    this.#departed.delete(oldest);
  }
}
