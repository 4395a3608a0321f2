/** Names that the world sees for what the wire packs into numbers. */

import { VM_KINDS } from '../stream/codes.ts';

export const UNKNOWN_DEVICE = 'unknown';

/** `0000:41:00.0` for `domain << 16 | bus << 8 | devfn`. A shift would cut domains above 0x7fff, so it divides. */
export function deviceAddress(packed: number): string {
  if (packed === 0) return UNKNOWN_DEVICE;
  const domain = Math.floor(packed / 0x10000);
  const bus = Math.floor(packed / 0x100) % 0x100;
  const slot = Math.floor(packed / 8) % 0x20;
  const hex = (value: number, width: number) => value.toString(16).padStart(width, '0');
  return `${hex(domain, 4)}:${hex(bus, 2)}:${hex(slot, 2)}.${packed % 8}`;
}

/** The number of an address that deviceAddress() wrote; 0 where it is none. */
export function packedDevice(address: string): number {
  const [domain, bus, slot, fn] = address.split(/[:.]/).map((text) => Number.parseInt(text, 16));
  if (domain === undefined || bus === undefined || slot === undefined || fn === undefined) return 0;
  return domain * 0x10000 + bus * 0x100 + slot * 8 + fn;
}

/** iommufd attaches with its misc device, which is called `iommu`. */
export function importerName(wire: string): string {
  if (wire === 'iommu') return 'iommufd';
  return wire === '' ? 'unknown' : wire;
}

/** What the probes print where the kernel keeps no kind (probes/snippets/vm.bt). */
const NO_KIND = 255;

export function vmKind(type: number | null): string {
  if (type === null || type === NO_KIND) return 'unknown';
  return VM_KINDS[type] ?? `type_${type}`;
}

/** A name of a closed list; a number beyond it (a newer probe) stays visible instead of being lost. */
export function codeName(names: readonly string[], index: number): string {
  return names[index] ?? `code_${index}`;
}
