import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import type { LimitFunction } from 'p-limit';
import type { CollectorLine } from '../../stream/wire.ts';
import { FifoMap } from '../../support/fifo-map.ts';
import type { OnHostError } from './host-errors.ts';
import { isVfioDevice, pciAddress, readDriver, readPci } from './pci.ts';
import type { PciIds } from './pci-ids.ts';

export interface DeviceWatchOptions {
  sysRoot: string;
  bootUs: () => number;
  emit: (line: CollectorLine) => void;
  pciIds: PciIds;
  onError: OnHostError;
  /** Most devices that are remembered. */
  limit: number;
  limitReads: LimitFunction;
}

interface Known {
  /** It has exported: it is gone where no VFIO driver holds it. One that only imports is gone with its sysfs entry. */
  exporter: boolean;
  /** False where the next event shall tell its facts anew. */
  told: boolean;
  /** Null where it is gone. */
  driver: string | null;
  gone: boolean;
  reading: boolean;
  /** It could not be read: the next poll tries again, whatever its driver is. */
  unread: boolean;
}

/** Tells what a PCI device is, when it has left, and what it is when it has come back. */
export class DeviceWatch {
  private readonly options: DeviceWatchOptions;
  private readonly devices = new FifoMap<number, Known>();
  /** Devices that have left. */
  private readonly left = new FifoMap<number, true>();

  constructor(options: DeviceWatchOptions) {
    this.options = options;
  }

  /** An event named this device (`domain << 16 | bus << 8 | devfn`); resolves when it has been told, undefined where it was. */
  see(packed: number, exporter: boolean): Promise<void> | undefined {
    const known = this.devices.get(packed);
    if (known === undefined) {
      this.makeRoom();
      const entry: Known = { exporter, told: true, driver: null, gone: false, reading: false, unread: false };
      this.devices.set(packed, entry);
      return this.tell(packed, entry);
    }
    known.exporter ||= exporter;
    if (known.told) return undefined;
    known.told = true;
    return this.tell(packed, known);
  }

  /** Facts may have changed while nothing was watched. */
  forget(): void {
    for (const known of this.devices.values()) known.told = false;
  }

  /** Looks which devices have left, come back, or have another driver. */
  async poll(): Promise<void> {
    let looked = 0;
    for (const [packed, known] of [...this.devices.entries()]) {
      if (++looked % 128 === 0) await yieldToEventLoop();
      if (known.reading) continue;
      try {
        const driver = await readDriver(this.options.sysRoot, pciAddress(packed));
        if (driver !== known.driver || known.unread) await this.tell(packed, known);
      } catch (error) {
        this.options.onError('device', error);
      }
    }
  }

  private async tell(packed: number, known: Known): Promise<void> {
    known.reading = true;
    try {
      await this.options.limitReads(() => this.read(packed, known));
      known.unread = false;
    } catch (error) {
      known.unread = true;
      this.options.onError('device', error);
    }
    known.reading = false;
  }

  private async read(packed: number, known: Known): Promise<void> {
    const { sysRoot, pciIds, emit, bootUs } = this.options;
    const device = pciAddress(packed);
    const facts = await readPci(sysRoot, device, pciIds);
    const there = facts !== null && (!known.exporter || (await isVfioDevice(sysRoot, device, facts.driver)));
    known.driver = facts?.driver ?? null;
    if (facts !== null) {
      // One that has left is told of again when it is back, not at each driver that it gets meanwhile.
      if (there || !known.gone) emit({ type: 'device', data: { t: bootUs(), ...facts } });
      if (there) {
        known.gone = false;
        this.left.delete(packed);
        return;
      }
    }
    if (!known.gone) emit({ type: 'device_gone', data: { t: bootUs(), device } });
    known.gone = true;
    if (this.devices.get(packed) === known && !this.left.has(packed)) this.left.set(packed, true);
  }

  /** Evicts the one that left first, or else the one that was first seen. */
  private makeRoom(): void {
    if (this.devices.size < this.options.limit) return;
    const oldest = this.left.oldest() ?? this.devices.oldest();
    if (oldest === undefined) return;
    this.devices.delete(oldest);
    this.left.delete(oldest);
  }
}
