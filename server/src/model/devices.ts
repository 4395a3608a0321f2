import type { Device, DeviceGone } from '../stream/wire.ts';

/** A host has fewer; who was told longest ago goes first. */
const LIMIT = 8192;

/** What the collector told of PCI devices, and which have left. */
export class DeviceTable {
  readonly #facts = new Map<string, Device>();
  readonly #goneAt = new Map<string, number>();
  /** Devices whose facts made room for others. */
  forgotten = 0;

  told(device: Device): void {
    this.#goneAt.delete(device.device);
    this.forgotten += put(this.#facts, device.device, device);
  }

  gone({ device, t }: DeviceGone): void {
    if (!this.#goneAt.has(device)) put(this.#goneAt, device, t);
  }

  /** An event named it: it is there, whatever was said before. */
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

  /** Lets go of the devices that left `graceUs` before `now`, and gives their addresses. */
  sweep(now: number, graceUs: number): Set<string> {
    const departed = new Set<string>();
    for (const [device, t] of this.#goneAt) {
      if (now - t < graceUs) continue;
      this.#goneAt.delete(device);
      this.#facts.delete(device);
      departed.add(device);
    }
    return departed;
  }
}

/** Gives how many others had to go. */
function put<V>(map: Map<string, V>, key: string, value: V): number {
  map.delete(key);
  map.set(key, value);
  if (map.size <= LIMIT) return 0;
  const oldest = map.keys().next();
  if (!oldest.done) map.delete(oldest.value);
  return 1;
}
