/** Names, as shown in API and metrics, for numbers on the wire. */

import { UNKNOWN_VM_KIND, VM_KINDS } from '../protocol/codes.ts';

export const UNKNOWN_DEVICE = 'unknown';

/**
 * `0000:41:00.0` for `domain << 16 | bus << 8 | devfn`. It divides, because a shift would truncate domains above
 * 0x7fff.
 */
export function deviceAddress(packed: number): string {
  if (packed === 0) return UNKNOWN_DEVICE;
  const domain = Math.floor(packed / 0x10000);
  const bus = Math.floor(packed / 0x100) % 0x100;
  const slot = Math.floor(packed / 8) % 0x20;
  const hex = (value: number, width: number) => value.toString(16).padStart(width, '0');
  return `${hex(domain, 4)}:${hex(bus, 2)}:${hex(slot, 2)}.${packed % 8}`;
}

/** The packed number of an address that deviceAddress() returned; 0 for other text. */
export function packedDevice(address: string): number {
  const [domain, bus, slot, fn] = address.split(/[:.]/).map((text) => Number.parseInt(text, 16));
  if (domain === undefined || bus === undefined || slot === undefined || fn === undefined) return 0;
  return domain * 0x10000 + bus * 0x100 + slot * 8 + fn;
}

/** The name of an importer. iommufd attaches with its misc device, whose name is `iommu`. */
export function importerName(wire: string): string {
  if (wire === 'iommu') return 'iommufd';
  return wire === '' ? 'unknown' : wire;
}

export function vmKind(type: number | null): string {
  if (type === null || type === UNKNOWN_VM_KIND) return 'unknown';
  return VM_KINDS[type] ?? `type_${type}`;
}

/** A name from a closed list. A number beyond the list, from a newer probe, is shown as `code_N`. */
export function codeName(names: readonly string[], index: number): string {
  return names[index] ?? `code_${index}`;
}
