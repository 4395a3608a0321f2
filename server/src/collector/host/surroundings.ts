import { createReadStream } from 'node:fs';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { isDenied, orAbsent } from '../../support/errno.ts';
import { type Capabilities, readCapabilities } from './capabilities.ts';
import { type Distribution, readDistribution } from './distribution.ts';
import { describeError } from './host-errors.ts';
import { isVfioDevice, readDriver } from './pci.ts';

/** What of the host does not decide what is traced, but whether it works and what it is worth. */
export interface Surroundings {
  /** Whether vfio_pci_core is there, with type information or not. */
  vfio: boolean;
  /** The PCI devices that a VFIO driver holds, in the order of their addresses. */
  devices: VfioDevice[];
  /** Whether the kernel has kprobes that perf can open. */
  kprobes: boolean;
  /** kernel.ftrace_enabled and debugfs' kprobes/enabled; true where they do not say no. */
  ftraceEnabled: boolean;
  kprobesEnabled: boolean;
  /** Of this process; null where /proc does not give them. */
  capabilities: Capabilities | null;
  distribution: Distribution | null;
  /** Whether this process is in the first pid namespace, and its clock that of the host; null where /proc does not tell. */
  initialPids: boolean | null;
  hostClock: boolean | null;
  /** Memory that can be had without swapping, in bytes; null where /proc does not tell. */
  memory: number | null;
  /** Reads that failed although what was to be read may exist, in words. */
  errors: string[];
}

export interface VfioDevice {
  device: string;
  /** As sysfs has it: KBUILD_MODNAME, so `nvgrace_gpu_vfio_pci`; `vfio-pci` alone names itself otherwise. */
  driver: string;
  /** Whether the driver can export: it has a get_dmabuf_phys of its own, or takes the one of vfio_pci_core. Null where that is not known. */
  exports: boolean | null;
}

/** The callback without which vfio_pci_core_feature_dma_buf answers EOPNOTSUPP. */
const CALLBACK = 'get_dmabuf_phys';
/** Takes the callback of vfio_pci_core, in every kernel that has the export. */
const PLAIN_DRIVER = 'vfio-pci';
/** Drivers of mainline with the callback, for a kernel whose symbols may not be read (drivers/vfio/pci). */
const KNOWN_EXPORTERS: ReadonlySet<string> = new Set(['nvgrace_gpu_vfio_pci']);

/** Inode of the first pid namespace: PROC_PID_INIT_INO of include/linux/proc_ns.h. */
const INITIAL_PIDS = 'pid:[4026531836]';

/** Asks the host. Reads only. Never rejects. */
export async function inspectSurroundings(roots: {
  procRoot: string;
  sysRoot: string;
  etcRoot?: string | undefined;
}): Promise<Surroundings> {
  const { procRoot, sysRoot } = roots;
  const errors: string[] = [];
  const noted = async <T>(read: Promise<T>, otherwise: T): Promise<T> => {
    try {
      return await read;
    } catch (error) {
      if (!isDenied(error)) errors.push(describeError(error));
      return otherwise;
    }
  };
  const text = (...path: string[]) => noted(orAbsent(readFile(join(...path), 'utf8'), null), null);
  const there = async (...path: string[]) =>
    (await noted(orAbsent(stat(join(...path)), null), null)) !== null;
  const pids = await noted(orAbsent(readlink(join(procRoot, 'self/ns/pid')), null), null);
  const offsets = await text(procRoot, 'self/timens_offsets');
  const meminfo = await text(procRoot, 'meminfo');
  const available = /^MemAvailable:\s*(\d+) kB$/m.exec(meminfo ?? '')?.[1];
  return {
    vfio: await there(sysRoot, 'module/vfio_pci_core'),
    devices: await noted(vfioDevices(procRoot, sysRoot), []),
    kprobes:
      (await there(sysRoot, 'bus/event_source/devices/kprobe')) ||
      (await there(sysRoot, 'kernel/tracing/kprobe_events')) ||
      (await there(sysRoot, 'kernel/debug/tracing/kprobe_events')),
    ftraceEnabled: (await text(procRoot, 'sys/kernel/ftrace_enabled'))?.trim() !== '0',
    kprobesEnabled: (await text(sysRoot, 'kernel/debug/kprobes/enabled'))?.trim() !== '0',
    capabilities: await noted(readCapabilities(procRoot), null),
    distribution: await readDistribution(roots.etcRoot),
    initialPids: pids === null ? null : pids === INITIAL_PIDS,
    hostClock: offsets === null ? null : /^boottime\s+0\s+0$/m.test(offsets),
    memory: available === undefined ? null : Number(available) * 1024,
    errors,
  };
}

async function vfioDevices(procRoot: string, sysRoot: string): Promise<VfioDevice[]> {
  const devices = (await orAbsent(readdir(join(sysRoot, 'bus/pci/devices')), [])).sort();
  const held: { device: string; driver: string }[] = [];
  for (const device of devices) {
    const driver = await readDriver(sysRoot, device);
    if (driver === null || driver === '' || !(await isVfioDevice(sysRoot, device, driver))) continue;
    held.push({ device, driver });
  }
  const others = held.some(({ driver }) => driver !== PLAIN_DRIVER);
  const exporters = others ? await modulesWithCallback(procRoot) : null;
  const found: VfioDevice[] = [];
  for (const { device, driver } of held) {
    const module = await moduleOf(sysRoot, driver);
    const exports =
      driver === PLAIN_DRIVER || (exporters?.has(module) ?? (KNOWN_EXPORTERS.has(module) ? true : null));
    found.push({ device, driver, exports });
  }
  return found;
}

/** The module of a PCI driver: modules are called by KBUILD_MODNAME, with underscores. */
async function moduleOf(sysRoot: string, driver: string): Promise<string> {
  const link = await orAbsent(readlink(join(sysRoot, 'bus/pci/drivers', driver, 'module')), null);
  return link === null ? driver.replaceAll('-', '_') : basename(link);
}

/**
 * Modules that define the callback, by the kernel's symbols (the names may be read without privilege, the addresses are not used);
 * null where they cannot be read.
 */
async function modulesWithCallback(procRoot: string): Promise<ReadonlySet<string> | null> {
  const modules = new Set<string>();
  let lines = 0;
  try {
    const input = createReadStream(join(procRoot, 'kallsyms'), {
      encoding: 'latin1',
      highWaterMark: 1 << 18,
    });
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      lines += 1;
      if (!line.includes(CALLBACK)) continue;
      modules.add(/\[(.+)\]/.exec(line)?.[1] ?? 'vmlinux');
    }
  } catch {
    return null;
  }
  return lines === 0 ? null : modules;
}
