import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isVfioDevice, readDriver } from './pci.ts';

/** What of the host does not decide what is traced, but whether it works and what it is worth. */
export interface Surroundings {
  /** Whether vfio_pci_core is there, with type information or not. */
  vfio: boolean;
  /** The PCI devices that a VFIO driver holds, in the order of their addresses. */
  devices: { device: string; driver: string }[];
  /** Whether the kernel has kprobes that perf can open. */
  kprobes: boolean;
  /** kernel.ftrace_enabled and debugfs' kprobes/enabled; true where they do not say no. */
  ftraceEnabled: boolean;
  kprobesEnabled: boolean;
  /** Effective capabilities of this process, a bit each; null where /proc does not tell. */
  capabilities: bigint | null;
  /** Whether this process is in the first pid namespace, and its clock that of the host; null where /proc does not tell. */
  initialPids: boolean | null;
  hostClock: boolean | null;
  /** Memory that can be had without swapping, in bytes; null where /proc does not tell. */
  memory: number | null;
}

/** Inode of the first pid namespace: PROC_PID_INIT_INO of include/linux/proc_ns.h. */
const INITIAL_PIDS = 'pid:[4026531836]';

/** Asks the host. Reads only. */
export async function inspectSurroundings(roots: {
  procRoot: string;
  sysRoot: string;
}): Promise<Surroundings> {
  const { procRoot, sysRoot } = roots;
  const text = (...path: string[]) => readFile(join(...path), 'utf8').catch(() => null);
  const there = (...path: string[]) =>
    stat(join(...path)).then(
      () => true,
      () => false,
    );
  const status = await text(procRoot, 'self/status');
  const pids = await readlink(join(procRoot, 'self/ns/pid')).catch(() => null);
  const offsets = await text(procRoot, 'self/timens_offsets');
  const meminfo = await text(procRoot, 'meminfo');
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(status ?? '')?.[1];
  const available = /^MemAvailable:\s*(\d+) kB$/m.exec(meminfo ?? '')?.[1];
  return {
    vfio: await there(sysRoot, 'module/vfio_pci_core'),
    devices: await vfioDevices(sysRoot),
    kprobes:
      (await there(sysRoot, 'bus/event_source/devices/kprobe')) ||
      (await there(sysRoot, 'kernel/tracing/kprobe_events')) ||
      (await there(sysRoot, 'kernel/debug/tracing/kprobe_events')),
    ftraceEnabled: (await text(procRoot, 'sys/kernel/ftrace_enabled'))?.trim() !== '0',
    kprobesEnabled: (await text(sysRoot, 'kernel/debug/kprobes/enabled'))?.trim() !== '0',
    capabilities: capabilities === undefined ? null : BigInt(`0x${capabilities}`),
    initialPids: pids === null ? null : pids === INITIAL_PIDS,
    hostClock: offsets === null ? null : /^boottime\s+0\s+0$/m.test(offsets),
    memory: available === undefined ? null : Number(available) * 1024,
  };
}

async function vfioDevices(sysRoot: string): Promise<Surroundings['devices']> {
  const devices = (await readdir(join(sysRoot, 'bus/pci/devices')).catch(() => [])).sort();
  const held: Surroundings['devices'] = [];
  for (const device of devices) {
    const driver = await readDriver(sysRoot, device);
    if (driver === null || driver === '' || !(await isVfioDevice(sysRoot, device, driver))) continue;
    held.push({ device, driver });
  }
  return held;
}
