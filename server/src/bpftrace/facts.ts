import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Capabilities, readCapabilities } from '../host/capabilities.ts';
import { readDistribution } from '../host/distribution.ts';
import { type KernelTypes, readKernelTypes } from '../host/kernel-types.ts';
import { pageBytes } from '../host/page-size.ts';
import { findTracefs, readTraceable } from '../host/traceable.ts';
import { orAbsent, readerNoting } from '../lib/errno.ts';
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
  const readOr = readerNoting(errors);
  const bpftrace = await findBpftrace({
    command: options.bpftrace,
    searchPath: options.searchPath ?? process.env.PATH ?? '',
    distribution: await readDistribution(options.etcRoot),
  });
  if ('reason' in bpftrace && bpftrace.reason === 'resources') errors.push(bpftrace.message);
  const tracing = await readOr(findTracefs(sysRoot), { path: null });
  const traceable =
    tracing.path === null ? null : await readOr(readTraceable(tracing.path, new Set(wanted.functions)), null);
  const none: KernelTypes = { present: false, functions: new Map(), members: {}, modules: [] };
  const types = await readOr(readKernelTypes(join(sysRoot, 'kernel/btf'), wanted), none);
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
