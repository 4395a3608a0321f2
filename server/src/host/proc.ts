import { readdir, readFile, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import { describeError, isAbsent, isDenied, type OnReadError, orAbsent } from '../lib/errno.ts';
import { packPciAddress } from './pci.ts';

export interface ProcStat {
  comm: string;
  state: string;
  /** The parent's pid; 0 if it has none, or none in this pid namespace. */
  parent: number;
  /** Clock ticks from boot to the start of the process. Unique together with the pid. */
  startTicks: number;
}

/**
 * Field 2 of /proc/PID/stat is in parentheses and may contain anything, even `) S 1` and line feeds. It ends at the
 * last `)`.
 */
export function parseStat(text: string): ProcStat | null {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open < 0 || close < open) return null;
  const rest = text
    .slice(close + 1)
    .trim()
    .split(/\s+/);
  const startTicks = Number(rest[19]);
  if (rest[0] === undefined || rest[19] === undefined || !Number.isSafeInteger(startTicks)) return null;
  return { comm: text.slice(open + 1, close), state: rest[0], parent: Number(rest[1]), startTicks };
}

/**
 * Reads /proc/PID/stat; null if the process has ended or is a zombie.
 * @throws if the file exists and cannot be read: the process may be alive
 */
export async function readStat(procRoot: string, pid: number): Promise<ProcStat | null> {
  const text = await orAbsent(readFile(join(procRoot, String(pid), 'stat'), 'utf8'), null);
  if (text === null) return null;
  const stat = parseStat(text);
  if (stat === null) throw new Error(`${pid}/stat cannot be parsed`);
  return stat.state === 'Z' || stat.state === 'X' ? null : stat;
}

export interface DmabufInfo {
  inode: number;
  bytes: number;
  exporter: string;
}

/** Parses /proc/PID/fdinfo/N of a dma-buf; null if it is not a dma-buf. */
export function parseFdinfo(text: string): DmabufInfo | null {
  const field = (name: string): string | undefined =>
    new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(text)?.[1]?.trim();
  const exporter = field('exp_name');
  const inode = Number(field('ino'));
  const bytes = Number(field('size'));
  if (exporter === undefined || !Number.isSafeInteger(inode) || !Number.isSafeInteger(bytes)) return null;
  return { inode, bytes, exporter };
}

/** A process that holds a dma-buf, and the number of its descriptors. */
interface Holder {
  pid: number;
  comm: string;
  fds: number;
}

/** A process that has a VFIO device open. */
interface DeviceHolder {
  /** Packed PCI address: `domain << 16 | bus << 8 | devfn`. */
  device: number;
  pid: number;
}

interface HeldBuffer {
  inode: number;
  bytes: number;
  holders: Holder[];
}

/** The PCI device (packed) in /proc/PID/fdinfo/N of a VFIO device (vfio_device_show_fdinfo); null if it names none. */
function parseVfioFdinfo(text: string): number | null {
  const path = /^vfio-device-syspath:[ \t]*(.*)$/m.exec(text)?.[1];
  return path === undefined ? null : packPciAddress(basename(path.trim()));
}

export interface HeldBuffers {
  buffers: Map<number, HeldBuffer>;
  /** Processes with open VFIO devices; each pair of process and device once. */
  devices: DeviceHolder[];
  /** What could not be read, for people; empty if the result is complete. */
  errors: string[];
}

export interface WalkOptions {
  procRoot: string;
  exporter: string;
  signal: AbortSignal;
  onError?: OnReadError;
  /** Maximum number of descriptors that are read, over all processes. */
  maxFds?: number;
}

/**
 * The holders of one exporter's dma-bufs, and of VFIO devices. It reads only the link and fdinfo of a descriptor. It
 * must never open a descriptor through /proc/PID/fd, not even with O_PATH: on kernels up to 7.3-rc this keeps the file
 * alive but not the dma-buf, which crashes the host.
 */
export async function findHolders(options: WalkOptions): Promise<HeldBuffers> {
  const { procRoot, exporter, signal, onError = () => {}, maxFds = 1_000_000 } = options;
  const buffers = new Map<number, HeldBuffer>();
  const devices: DeviceHolder[] = [];
  const errors: string[] = [];
  let seen = 0;
  let denied = 0;
  const failed: unknown[] = [];
  /** A failed read makes the list of holders incomplete, except if the file is absent. */
  const read = <T>(reading: Promise<T>, fallback: T): Promise<T> =>
    reading.catch((error: unknown) => {
      if (isDenied(error)) denied++;
      else if (!isAbsent(error)) {
        failed.push(error);
        onError(error);
      }
      return fallback;
    });
  const names = await read(readdir(procRoot), []);
  const pids = names.filter((name) => /^\d+$/.test(name)).map(Number);
  if (pids.length === 0) errors.push(`${procRoot} lists no processes`);
  for (const pid of pids) {
    if (signal.aborted)
      return { buffers, devices, errors: [...errors, 'stopped during the search for holders'] };
    const folder = join(procRoot, String(pid));
    const fds = await read(readdir(join(folder, 'fd')), []);
    const held = new Map<number, { bytes: number; fds: number }>();
    const open = new Set<number>();
    for (const fd of fds) {
      if (++seen > maxFds) return { buffers, devices, errors: [...errors, `more than ${maxFds} open files`] };
      if (seen % 256 === 0) await yieldToEventLoop();
      const info = await readFd(folder, fd, read);
      if (typeof info === 'number') open.add(info);
      if (info === null || typeof info === 'number' || info.exporter !== exporter) continue;
      held.set(info.inode, { bytes: info.bytes, fds: (held.get(info.inode)?.fds ?? 0) + 1 });
    }
    for (const device of open) devices.push({ device, pid });
    if (held.size === 0) continue;
    const comm = (await read(readStat(procRoot, pid), null))?.comm ?? '';
    for (const [inode, { bytes, fds: count }] of held) {
      const buffer = buffers.get(inode) ?? { inode, bytes, holders: [] };
      buffer.holders.push({ pid, comm, fds: count });
      buffers.set(inode, buffer);
    }
  }
  if (denied > 0) errors.push(`access to the open files of ${denied} processes is denied`);
  if (failed.length > 0) {
    errors.push(`${failed.length} reads of open files failed, the first with ${describeError(failed[0])}`);
  }
  return { buffers, devices, errors };
}

/**
 * A dma-buf, or the packed address of a VFIO device, which was opened through its group or as /dev/vfio/devices/vfioN.
 */
async function readFd(
  folder: string,
  fd: string,
  read: <T>(reading: Promise<T>, fallback: T) => Promise<T>,
): Promise<DmabufInfo | number | null> {
  const target = await read(readlink(join(folder, 'fd', fd)), '');
  const isDmabuf = target.startsWith('/dmabuf:');
  if (!isDmabuf && target !== 'anon_inode:[vfio-device]' && !target.startsWith('/dev/vfio/devices/'))
    return null;
  const text = await read(readFile(join(folder, 'fdinfo', fd), 'utf8'), '');
  return isDmabuf ? parseFdinfo(text) : parseVfioFdinfo(text);
}

/**
 * How often the kernel skipped BPF programs of a process because they were already running (recursion_misses in
 * fdinfo). Null if the process has ended or a file could not be read.
 */
export async function countRecursionMisses(
  procRoot: string,
  pid: number,
  onError: OnReadError = () => {},
): Promise<number | null> {
  try {
    return await sumRecursionMisses(join(procRoot, String(pid), 'fdinfo'));
  } catch (error) {
    onError(error);
    return null;
  }
}

async function sumRecursionMisses(folder: string): Promise<number | null> {
  const fds = await orAbsent(readdir(folder), null);
  if (fds === null) return null;
  const programs = new Map<string, number>();
  for (const fd of fds) {
    const text = await orAbsent(readFile(join(folder, fd), 'latin1'), '');
    const misses = /^recursion_misses:\s*(\d+)$/m.exec(text)?.[1];
    if (misses === undefined) continue;
    programs.set(/^prog_id:\s*(\d+)$/m.exec(text)?.[1] ?? `fd ${fd}`, Number(misses));
  }
  return [...programs.values()].reduce((sum, misses) => sum + misses, 0);
}
