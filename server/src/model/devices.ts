import type { Device, DeviceGone } from '../stream/wire.ts';
import { FifoMap } from '../support/fifo-map.ts';

/** A host has fewer; the one whose facts are the oldest is evicted first. */
const LIMIT = 8192;

/** Facts that the collector has reported of PCI devices, and which devices have left. */
export class DeviceTable {
  readonly #facts = new FifoMap<string, Device>();
  /** When each left, in the order in which that was reported. */
  readonly #goneAt = new FifoMap<string, number>();
  /** Devices whose facts were evicted. */
  forgotten = 0;

  upsert(device: Device): void {
    this.#goneAt.delete(device.device);
    this.#facts.set(device.device, device);
    this.forgotten += this.#facts.limit(LIMIT);
  }

  gone({ device, t }: DeviceGone): void {
    if (this.#goneAt.has(device)) return;
    this.#goneAt.set(device, t);
    this.#goneAt.limit(LIMIT);
  }

  /** An event named it: it is there, whatever was reported before. */
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

  /** Removes the devices that left `graceUs` before `now` or earlier, and returns their addresses. */
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
