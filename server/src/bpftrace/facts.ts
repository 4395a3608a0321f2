import { createReadStream } from 'node:fs';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError } from '../collector/host-errors.ts';
import { type BtfFound, BtfSearch } from '../host/btf.ts';
import { type Capabilities, readCapabilities } from '../host/capabilities.ts';
import { readDistribution } from '../host/distribution.ts';
import { pageBytes } from '../host/page-size.ts';
import { errnoOf, isAbsent, isDenied, orAbsent } from '../lib/errno.ts';
import type { ProbeFacts, Wanted } from './compiler/compose.ts';
import { type Bpftrace, findBpftrace } from './installed.ts';
import type { StartFailure } from './start-failure.ts';

/** Facts of this host that decide whether and what can be traced. */
export interface HostFacts extends ProbeFacts {
  /** Release of the running kernel. */
  kernel: string;
  /** Effective user id of this process. */
  uid: number;
  /** Whether the kernel has BTF (/sys/kernel/btf/vmlinux). */
  btf: boolean;
  /** The BTF exists but cannot be parsed. */
  btfUnreadable?: boolean;
  /** `none`, `integrity` or `confidentiality`; null if the kernel has no lockdown. */
  lockdown: string | null;
  /** Whether the list of traceable functions exists and this process may read it. */
  tracefs: boolean;
  /** The errno, if the list exists but access is denied. */
  tracefsDenied?: string;
  /** Capabilities of this process; absent if /proc does not list them. */
  capabilities?: Capabilities;
  /** Failed reads, for people, of things that may exist. If there is one, the other facts may be wrong. */
  errors?: readonly string[];
  bpftrace: Bpftrace | StartFailure;
}

export interface InspectOptions {
  /** Functions and members that the fragments name: see wantedBy(). */
  wanted: Wanted;
  /** bpftrace: a path, or a name to look for in PATH. */
  bpftrace: string;
  searchPath?: string;
  procRoot?: string;
  sysRoot?: string;
  /** The folder of os-release; default /etc. */
  etcRoot?: string;
  uid?: number;
}

/**
 * Inspects the host, read-only. Never rejects: reads that failed are in `errors`, except absent files and denied
 * access.
 */
export async function inspectHost(options: InspectOptions): Promise<HostFacts> {
  const { wanted, procRoot = '/proc', sysRoot = '/sys' } = options;
  const errors: string[] = [];
  const readOr = async <T>(read: Promise<T>, fallback: T): Promise<T> => {
    try {
      return await read;
    } catch (error) {
      if (!isDenied(error)) errors.push(describeError(error));
      return fallback;
    }
  };
  const bpftrace = await findBpftrace({
    command: options.bpftrace,
    searchPath: options.searchPath ?? process.env.PATH ?? '',
    distribution: await readDistribution(options.etcRoot),
  });
  if ('reason' in bpftrace && bpftrace.reason === 'resources') errors.push(bpftrace.message);
  const tracing = await readOr(findTracefs(sysRoot), { path: null });
  const traceable =
    tracing.path === null ? null : await readOr(readTraceable(tracing.path, new Set(wanted.functions)), null);
  const none: Types = { present: false, functions: new Map(), members: {}, modules: [] };
  const types = await readOr(readTypes(join(sysRoot, 'kernel/btf'), wanted), none);
  const text = (path: string) => readOr(orAbsent(readFile(path, 'utf8'), null), null);
  const capabilities = await readOr(readCapabilities(procRoot), null);
  const functions: Record<string, string> = {};
  const untraceable: string[] = [];
  for (const [name, modules] of types.functions) {
    const module = modules.find((candidate) => traceable === null || traceable.has(`${name} ${candidate}`));
    if (module === undefined) untraceable.push(name);
    else functions[name] = module;
  }
  return {
    kernel: (await text(join(procRoot, 'sys/kernel/osrelease')))?.trim() ?? 'unknown',
    uid: options.uid ?? process.geteuid?.() ?? 0,
    btf: types.present,
    ...(types.unreadable === true && { btfUnreadable: true }),
    lockdown: parseLockdown(await text(join(sysRoot, 'kernel/security/lockdown'))),
    tracefs: tracing.path !== null,
    ...(tracing.denied !== undefined && { tracefsDenied: tracing.denied }),
    ...(capabilities !== null && { capabilities }),
    functions,
    untraceable: untraceable.sort(),
    members: types.members,
    pageBytes: pageBytes(),
    modules: types.modules,
    bpftrace,
    bpftraceVersion: 'parts' in bpftrace ? bpftrace.parts : null,
    ...(errors.length > 0 && { errors }),
  };
}

/** `none [integrity] confidentiality` -> `integrity` */
export function parseLockdown(text: string | null): string | null {
  return /\[(\w+)\]/.exec(text ?? '')?.[1] ?? null;
}

/**
 * Sorted names of the loaded modules that have BTF, and `vmlinux`.
 * @throws if the list exists and cannot be read
 */
async function listBtfModules(folder: string): Promise<string[]> {
  return (await orAbsent(readdir(folder), [])).sort();
}

/**
 * The loaded modules by name, each with the inode of its BTF file. A different inode means that the module was
 * reloaded, which detached its probes.
 * @throws if the list, or one of its files, exists and cannot be read
 */
export async function loadedModules(sysRoot = '/sys'): Promise<Map<string, number>> {
  const folder = join(sysRoot, 'kernel/btf');
  const modules = new Map<string, number>();
  for (const name of await listBtfModules(folder)) {
    const found = await orAbsent(stat(join(folder, name)), null);
    if (found !== null && name !== 'vmlinux') modules.set(name, found.ino);
  }
  return modules;
}

interface Types {
  present: boolean;
  unreadable?: boolean;
  functions: Map<string, string[]>;
  members: Record<string, number>;
  modules: string[];
}

async function readTypes(folder: string, wanted: Wanted): Promise<Types> {
  const functions = new Map<string, string[]>();
  const members: Record<string, number> = {};
  const kernel = await orAbsent(readWhole(join(folder, 'vmlinux')), null);
  const none = { present: false, functions, members, modules: [] };
  if (kernel === null) return none;
  const note = (module: string, found: BtfFound): void => {
    for (const name of found.functions) functions.set(name, [...(functions.get(name) ?? []), module]);
    for (const [path, offset] of found.members) members[path] ??= offset;
  };
  const search = new BtfSearch(wanted);
  try {
    note('vmlinux', search.searchKernel(kernel));
  } catch {
    return { ...none, unreadable: true };
  }
  const modules = (await listBtfModules(folder)).filter((name) => name !== 'vmlinux');
  for (const module of modules) {
    // Null if the module was unloaded since the list was read.
    const bytes = await orAbsent(readWhole(join(folder, module)), null);
    try {
      if (bytes !== null) note(module, search.searchModule(bytes));
    } catch {
      // Its BTF is damaged: none of its functions can be traced.
    }
  }
  return { present: true, functions, members, modules };
}

/**
 * Reads a file of sysfs. Its reads return at most one page, and fs.readFile treats a short first read as the end of the
 * file.
 */
async function readWhole(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const bytes = Buffer.alloc((await file.stat()).size);
    for (let length = 0; length < bytes.length; ) {
      const { bytesRead } = await file.read(bytes, length);
      if (bytesRead === 0) return bytes.subarray(0, length);
      length += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

/**
 * Finds the list of traceable functions. Opens it, because access(2) ignores ambient capabilities. `denied` is the
 * errno if the list exists but access is denied.
 * @throws if it exists and cannot be opened for another reason
 */
async function findTracefs(sysRoot: string): Promise<{ path: string | null; denied?: string }> {
  let denied: string | undefined;
  for (const folder of ['kernel/tracing', 'kernel/debug/tracing']) {
    const path = join(sysRoot, folder, 'available_filter_functions');
    try {
      await (await open(path)).close();
      return { path };
    } catch (error) {
      if (isDenied(error)) denied ??= errnoOf(error);
      else if (!isAbsent(error)) throw error;
    }
  }
  return { path: null, ...(denied !== undefined && { denied }) };
}

/** `NAME MODULE` of each wanted function that the kernel lists as traceable; null if the list names none of them. */
async function readTraceable(path: string, wanted: ReadonlySet<string>): Promise<Set<string> | null> {
  const found = new Set<string>();
  let rest = '';
  const parseLine = (line: string): void => {
    const space = line.search(/[\s]/);
    const name = space < 0 ? line : line.slice(0, space);
    if (wanted.has(name)) found.add(`${name} ${/\[(.+)\]/.exec(line)?.[1] ?? 'vmlinux'}`);
  };
  try {
    for await (const chunk of createReadStream(path, { encoding: 'latin1', highWaterMark: 1 << 18 })) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) parseLine(line);
    }
  } catch (error) {
    if (isAbsent(error) || errnoOf(error) === 'EISDIR') return null;
    throw error;
  }
  parseLine(rest);
  return found.size === 0 ? null : found;
}
