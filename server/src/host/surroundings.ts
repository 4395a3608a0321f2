import { createReadStream } from 'node:fs';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { orAbsent, readerNoting } from '../lib/errno.ts';
import { readLines } from '../lib/read-lines.ts';
import { type Capabilities, readCapabilities } from './capabilities.ts';
import { findNameSources } from './container-names.ts';
import { type Distribution, readDistribution } from './distribution.ts';
import { isVfioDevice, readDriver } from './pci.ts';

/** Facts of the host that do not decide what is traced, but whether tracing works and how complete it is. */
export interface Surroundings {
  /** Whether vfio_pci_core is in the kernel, with or without BTF. */
  vfio: boolean;
  /** PCI devices with a VFIO driver, sorted by address. */
  devices: VfioDevice[];
  /** Whether perf_event_open(2) can open kprobes on this kernel. */
  kprobes: boolean;
  /** kernel.ftrace_enabled, and kprobes/enabled of debugfs. True unless the file contains 0. */
  ftraceEnabled: boolean;
  kprobesEnabled: boolean;
  /** Of this process; null if /proc does not list them. */
  capabilities: Capabilities | null;
  distribution: Distribution | null;
  /**
   * Whether this process is in the initial pid namespace, and uses the clock of the host; null if /proc does not show
   * it.
   */
  initialPids: boolean | null;
  hostClock: boolean | null;
  /** Which sources of names of pods and containers exist; null if the root directory of the host cannot be read. */
  nameSources: string[] | null;
  /** Memory that is available without swapping, in bytes; null if /proc does not show it. */
  memory: number | null;
  /** Failed reads, for people, of things that may exist. */
  errors: string[];
}

export interface VfioDevice {
  device: string;
  /** Name in sysfs: KBUILD_MODNAME, e.g. `nvgrace_gpu_vfio_pci`. Only `vfio-pci` has a different name. */
  driver: string;
  /**
   * Whether the driver can export: it defines get_dmabuf_phys, or uses that of vfio_pci_core. Null if that is not
   * known.
   */
  exports: boolean | null;
}

/** Without this callback, vfio_pci_core_feature_dma_buf returns EOPNOTSUPP. */
const CALLBACK = 'get_dmabuf_phys';
/** Uses the callback of vfio_pci_core, in every kernel that can export. */
const PLAIN_DRIVER = 'vfio-pci';
/** Mainline drivers with the callback (drivers/vfio/pci), for a kernel whose symbols cannot be read. */
const KNOWN_EXPORTERS: ReadonlySet<string> = new Set(['nvgrace_gpu_vfio_pci']);

/** Inode of the initial pid namespace: PROC_PID_INIT_INO of include/linux/proc_ns.h. */
const INITIAL_PIDS = 'pid:[4026531836]';

/** Inspects the host, read-only. Never rejects. */
export async function inspectSurroundings(roots: {
  procRoot: string;
  sysRoot: string;
  etcRoot?: string | undefined;
}): Promise<Surroundings> {
  const { procRoot, sysRoot } = roots;
  const errors: string[] = [];
  const readOr = readerNoting(errors);
  const text = (...path: string[]) => readOr(orAbsent(readFile(join(...path), 'utf8'), null), null);
  const exists = async (...path: string[]) =>
    (await readOr(orAbsent(stat(join(...path)), null), null)) !== null;
  const pids = await readOr(orAbsent(readlink(join(procRoot, 'self/ns/pid')), null), null);
  const offsets = await text(procRoot, 'self/timens_offsets');
  const meminfo = await text(procRoot, 'meminfo');
  const available = /^MemAvailable:\s*(\d+) kB$/m.exec(meminfo ?? '')?.[1];
  return {
    vfio: await exists(sysRoot, 'module/vfio_pci_core'),
    devices: await readOr(vfioDevices(procRoot, sysRoot), []),
    kprobes:
      (await exists(sysRoot, 'bus/event_source/devices/kprobe')) ||
      (await exists(sysRoot, 'kernel/tracing/kprobe_events')) ||
      (await exists(sysRoot, 'kernel/debug/tracing/kprobe_events')),
    ftraceEnabled: (await text(procRoot, 'sys/kernel/ftrace_enabled'))?.trim() !== '0',
    kprobesEnabled: (await text(sysRoot, 'kernel/debug/kprobes/enabled'))?.trim() !== '0',
    capabilities: await readOr(readCapabilities(procRoot), null),
    distribution: await readDistribution(roots.etcRoot),
    initialPids: pids === null ? null : pids === INITIAL_PIDS,
    hostClock: offsets === null ? null : /^boottime\s+0\s+0$/m.test(offsets),
    nameSources: await readOr(findNameSources(procRoot), null),
    memory: available === undefined ? null : Number(available) * 1024,
    errors,
  };
}

async function vfioDevices(procRoot: string, sysRoot: string): Promise<VfioDevice[]> {
  const devices = (await orAbsent(readdir(join(sysRoot, 'bus/pci/devices')), [])).sort();
  const bound: { device: string; driver: string }[] = [];
  for (const device of devices) {
    const driver = await readDriver(sysRoot, device);
    if (driver === null || driver === '' || !(await isVfioDevice(sysRoot, device, driver))) continue;
    bound.push({ device, driver });
  }
  const others = bound.some(({ driver }) => driver !== PLAIN_DRIVER);
  const exporters = others ? await modulesWithCallback(procRoot) : null;
  const found: VfioDevice[] = [];
  for (const { device, driver } of bound) {
    const module = await moduleOf(sysRoot, driver);
    const exports =
      driver === PLAIN_DRIVER || (exporters?.has(module) ?? (KNOWN_EXPORTERS.has(module) ? true : null));
    found.push({ device, driver, exports });
  }
  return found;
}

/** The module of a PCI driver. The name of a module is KBUILD_MODNAME, with underscores. */
async function moduleOf(sysRoot: string, driver: string): Promise<string> {
  const link = await orAbsent(readlink(join(sysRoot, 'bus/pci/drivers', driver, 'module')), null);
  return link === null ? driver.replaceAll('-', '_') : basename(link);
}

/**
 * Modules that define the callback, from /proc/kallsyms; null if it cannot be read. Names can be read without
 * privilege, and addresses are not used.
 */
async function modulesWithCallback(procRoot: string): Promise<ReadonlySet<string> | null> {
  const modules = new Set<string>();
  let lines = 0;
  try {
    const input = createReadStream(join(procRoot, 'kallsyms'), {
      encoding: 'latin1',
      highWaterMark: 1 << 18,
    });
    await readLines(input, (line) => {
      lines += 1;
      if (line.includes(CALLBACK)) modules.add(/\[(.+)\]/.exec(line)?.[1] ?? 'vmlinux');
    });
  } catch {
    return null;
  }
  return lines === 0 ? null : modules;
}
