import { readFile, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';

export interface PciFacts {
  device: string;
  vendor_id: string;
  device_id: string;
  driver: string;
  iommu_group: string;
  numa_node: number;
}

/** `domain << 16 | bus << 8 | devfn` -> `0000:41:00.0` */
export function pciAddress(packed: number): string {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
  const domain = Math.floor(packed / 0x1_0000);
  const bus = Math.floor(packed / 0x100) & 0xff;
  return `${hex(domain, 4)}:${hex(bus, 2)}:${hex((packed >> 3) & 0x1f, 2)}.${packed & 7}`;
}

/** What sysfs says of a PCI device; a fact that it does not tell is empty (node: -1). Null where there is no such device. */
export async function readPci(sysRoot: string, device: string): Promise<PciFacts | null> {
  const folder = join(sysRoot, 'bus/pci/devices', device);
  const text = async (name: string): Promise<string> =>
    (await readFile(join(folder, name), 'utf8').catch(() => '')).trim();
  const link = async (name: string): Promise<string> =>
    basename(await readlink(join(folder, name)).catch(() => ''));
  const vendor = await text('vendor');
  if (vendor === '') return null;
  const node = Number.parseInt(await text('numa_node'), 10);
  return {
    device,
    vendor_id: vendor.replace(/^0x/, ''),
    device_id: (await text('device')).replace(/^0x/, ''),
    driver: await link('driver'),
    iommu_group: await link('iommu_group'),
    numa_node: Number.isInteger(node) ? node : -1,
  };
}
