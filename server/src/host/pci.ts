import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { orAbsent } from '../lib/errno.ts';
import type { PciIds } from './pci-ids.ts';

/** Facts of a PCI device, as in the line `device` of the stream (docs/stream.md). */
export interface PciFacts {
  /** PCI address. */
  device: string;
  vendor_id: string;
  device_id: string;
  driver: string;
  iommu_group: string;
  numa_node: number;
  /** Class code as in sysfs. */
  class?: string;
  vendor_name?: string;
  device_name?: string;
  class_name?: string;
  /** Names of its RDMA devices, DRM cards and network interfaces. */
  interfaces?: string[];
}

const ADDRESS = /^([0-9a-f]{4,8}):([0-9a-f]{2}):([01][0-9a-f])\.([0-7])$/;
const MAX_INTERFACES = 8;

/** `domain << 16 | bus << 8 | devfn` -> `0000:41:00.0` */
export function pciAddress(packed: number): string {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
  const domain = Math.floor(packed / 0x1_0000);
  const bus = Math.floor(packed / 0x100) & 0xff;
  return `${hex(domain, 4)}:${hex(bus, 2)}:${hex((packed >> 3) & 0x1f, 2)}.${packed & 7}`;
}

/** `0000:41:00.0` -> `domain << 16 | bus << 8 | devfn`; null if the name is not a PCI address. */
export function packPciAddress(name: string): number | null {
  const [, domain, bus, slot, fn] = ADDRESS.exec(name) ?? [];
  if (domain === undefined || bus === undefined || slot === undefined) return null;
  const devfn = Number.parseInt(slot, 16) * 8 + Number(fn);
  return Number.parseInt(domain, 16) * 0x1_0000 + Number.parseInt(bus, 16) * 0x100 + devfn;
}

/**
 * Facts of a PCI device from sysfs. An unknown fact is empty, an unknown NUMA node -1. Null if there is no such device.
 * @throws if one of its files exists and cannot be read
 */
export async function readPci(sysRoot: string, device: string, ids: PciIds): Promise<PciFacts | null> {
  const folder = deviceFolder(sysRoot, device);
  const text = async (name: string): Promise<string> =>
    (await orAbsent(readFile(join(folder, name), 'utf8'), '')).trim();
  const vendor = hexDigits(await text('vendor'));
  if (vendor === '') return null;
  const node = Number.parseInt(await text('numa_node'), 10);
  const id = hexDigits(await text('device'));
  const code = hexDigits(await text('class'));
  const interfaces = await readInterfaces(folder);
  return {
    device,
    vendor_id: vendor,
    device_id: id,
    driver: (await readDriver(sysRoot, device)) ?? '',
    iommu_group: basename(await orAbsent(readlink(join(folder, 'iommu_group')), '')),
    numa_node: Number.isInteger(node) ? node : -1,
    ...(code === '' ? {} : { class: code }),
    ...(await ids.find({ vendor, device: id, class: code })),
    ...(interfaces.length === 0 ? {} : { interfaces }),
  };
}

/**
 * The driver that is bound to a device; empty if none is, null if there is no such device.
 * @throws if the device exists and sysfs cannot be read
 */
export async function readDriver(sysRoot: string, device: string): Promise<string | null> {
  const folder = deviceFolder(sysRoot, device);
  const driver = await orAbsent(readlink(join(folder, 'driver')), null);
  if (driver !== null) return basename(driver);
  return (await orAbsent(stat(folder), null)) === null ? null : '';
}

/**
 * Whether the driver is a VFIO driver: its name contains `vfio`, or it has registered a VFIO device (vfio_init_device
 * in drivers/vfio/vfio_main.c), which since Linux 6.1 appears in the folder vfio-dev.
 * @throws if the folder exists and sysfs cannot be read
 */
export async function isVfioDevice(sysRoot: string, device: string, driver: string): Promise<boolean> {
  if (driver.includes('vfio')) return true;
  return (await orAbsent(stat(join(deviceFolder(sysRoot, device), 'vfio-dev')), null)) !== null;
}

/** Names of the device's interfaces, for people: InfiniBand `mlx5_0`, then DRM `card1`, then network `eth0`. */
async function readInterfaces(folder: string): Promise<string[]> {
  const list = async (name: string): Promise<string[]> =>
    (await orAbsent(readdir(join(folder, name)), [])).sort();
  const cards = (await list('drm')).filter((name) => name.startsWith('card'));
  return [...(await list('infiniband')), ...cards, ...(await list('net'))].slice(0, MAX_INTERFACES);
}

function deviceFolder(sysRoot: string, device: string): string {
  return join(sysRoot, 'bus/pci/devices', device);
}

function hexDigits(text: string): string {
  return text.replace(/^0x/, '');
}
