import { createReadStream } from 'node:fs';
import { access, open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ProbeFacts, Wanted } from '../bpftrace/compose.ts';
import { type Bpftrace, findBpftrace, type StartFailure } from '../bpftrace/version.ts';
import { type BtfFound, BtfSearch } from './btf.ts';
import { pageBytes } from './page-size.ts';

/** What of this host decides whether and what can be traced. */
export interface HostFacts extends ProbeFacts {
  /** Release of the running kernel. */
  kernel: string;
  /** Effective user id of this process. */
  uid: number;
  /** Whether the kernel tells its types (/sys/kernel/btf/vmlinux). */
  btf: boolean;
  /** It would, in a form that cannot be read. */
  btfUnreadable?: boolean;
  /** `none`, `integrity` or `confidentiality`; null where the kernel has no lockdown. */
  lockdown: string | null;
  tracefs: boolean;
  bpftrace: Bpftrace | StartFailure;
}

export interface InspectOptions {
  /** Functions and members that the fragments ask for: see wantedBy(). */
  wanted: Wanted;
  /** bpftrace: a path, or a name to look for in PATH. */
  bpftrace: string;
  searchPath?: string;
  procRoot?: string;
  sysRoot?: string;
  uid?: number;
}

/** Asks the host. Reads only; what cannot be read counts as not there. */
export async function inspectHost(options: InspectOptions): Promise<HostFacts> {
  const { wanted, procRoot = '/proc', sysRoot = '/sys' } = options;
  const bpftrace = await findBpftrace({
    command: options.bpftrace,
    searchPath: options.searchPath ?? process.env.PATH ?? '',
  });
  const tracing = await findTracefs(sysRoot);
  const traceable = tracing === null ? null : await readTraceable(tracing, new Set(wanted.functions));
  const types = await readTypes(join(sysRoot, 'kernel/btf'), wanted);
  const functions: Record<string, string> = {};
  const untraceable: string[] = [];
  for (const [name, modules] of types.functions) {
    const module = modules.find((candidate) => traceable === null || traceable.has(`${name} ${candidate}`));
    if (module === undefined) untraceable.push(name);
    else functions[name] = module;
  }
  return {
    kernel: (await readText(join(procRoot, 'sys/kernel/osrelease')))?.trim() ?? 'unknown',
    uid: options.uid ?? process.geteuid?.() ?? 0,
    btf: types.present,
    ...(types.unreadable === true && { btfUnreadable: true }),
    lockdown: parseLockdown(await readText(join(sysRoot, 'kernel/security/lockdown'))),
    tracefs: tracing !== null,
    functions,
    untraceable: untraceable.sort(),
    members: types.members,
    pageBytes: pageBytes(),
    modules: types.modules,
    bpftrace,
    bpftraceVersion: 'parts' in bpftrace ? bpftrace.parts : null,
  };
}

/** `none [integrity] confidentiality` -> `integrity` */
export function parseLockdown(text: string | null): string | null {
  return /\[(\w+)\]/.exec(text ?? '')?.[1] ?? null;
}

/** Names of the loaded modules (and `vmlinux`) that have type information, sorted. */
async function listBtfModules(folder: string): Promise<string[]> {
  return (await readdir(folder).catch(() => [])).sort();
}

/**
 * The loaded modules by name, each with the inode of its type information: another number is a module that was unloaded and
 * loaded again, and the probes that it had are dead.
 */
export async function loadedModules(sysRoot = '/sys'): Promise<Map<string, number>> {
  const folder = join(sysRoot, 'kernel/btf');
  const modules = new Map<string, number>();
  for (const name of await listBtfModules(folder)) {
    const inode = await stat(join(folder, name)).then(
      ({ ino }) => ino,
      () => null,
    );
    if (inode !== null && name !== 'vmlinux') modules.set(name, inode);
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
  const kernel = await readWhole(join(folder, 'vmlinux')).catch(() => null);
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
    try {
      note(module, search.searchModule(await readWhole(join(folder, module))));
    } catch {
      // It went while we read, or its type information is broken: none of its functions can be traced.
    }
  }
  return { present: true, functions, members, modules };
}

/** sysfs hands a file out a page at a time, and readFile takes a short first read for the end of the file. */
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

async function findTracefs(sysRoot: string): Promise<string | null> {
  for (const folder of ['kernel/tracing', 'kernel/debug/tracing']) {
    const path = join(sysRoot, folder, 'available_filter_functions');
    const found = await access(path).then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  return null;
}

/** `NAME MODULE` of the wanted functions that the kernel lists as traceable; null where the list cannot be read. */
async function readTraceable(path: string, wanted: ReadonlySet<string>): Promise<Set<string> | null> {
  const found = new Set<string>();
  let rest = '';
  const take = (line: string): void => {
    const space = line.search(/[\s]/);
    const name = space < 0 ? line : line.slice(0, space);
    if (wanted.has(name)) found.add(`${name} ${/\[(.+)\]/.exec(line)?.[1] ?? 'vmlinux'}`);
  };
  try {
    for await (const chunk of createReadStream(path, { encoding: 'latin1', highWaterMark: 1 << 18 })) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) take(line);
    }
  } catch {
    return null;
  }
  take(rest);
  return found.size === 0 ? null : found;
}

async function readText(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch(() => null);
}
