import { FifoMap } from '../lib/fifo-map.ts';
import type { Device, DeviceGone } from '../protocol/wire.ts';

/** More than a host has. The device with the oldest facts is evicted first. */
const LIMIT = 8192;

/** Facts about PCI devices that the collector reported, and the devices that have left. */
export class DeviceTable {
  readonly #facts = new FifoMap<string, Device>();
  /** When each device left, in the order of the reports. */
  readonly #goneAt = new FifoMap<string, number>();
  /** Number of devices whose facts were evicted. */
  evicted = 0;

  upsert(device: Device): void {
    this.#goneAt.delete(device.device);
    this.#facts.set(device.device, device);
    this.evicted += this.#facts.limit(LIMIT);
  }

  gone({ device, t }: DeviceGone): void {
    if (this.#goneAt.has(device)) return;
    this.#goneAt.set(device, t);
    this.#goneAt.limit(LIMIT);
  }

  /** An event named the device, so it exists, even if it was reported as gone. */
  seen(device: string): void {
    this.#goneAt.delete(device);
  }

  get anyGone(): boolean {
    return this.#goneAt.size > 0;
  }

  get(device: string): Device | undefined {
    return this.#facts.get(device);
  }

  all(): Device[] {
    return [...this.#facts.values()];
  }

  /** Removes the devices that left at least `graceUs` before `now`. Returns their addresses. */
  sweep(now: number, graceUs: number): Set<string> {
    const departed = new Set<string>();
    for (let device = this.#goneAt.oldest(); device !== undefined; device = this.#goneAt.oldest()) {
      if (now - (this.#goneAt.get(device) ?? 0) < graceUs) break;
      this.#goneAt.delete(device);
      this.#facts.delete(device);
      departed.add(device);
    }
    return departed;
  }
}
