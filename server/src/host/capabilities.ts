import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { orAbsent } from '../lib/errno.ts';

/** Capabilities by their number in include/uapi/linux/capability.h. */
const CAPABILITIES = {
  CAP_DAC_OVERRIDE: 1n,
  CAP_DAC_READ_SEARCH: 2n,
  CAP_SYS_PTRACE: 19n,
  CAP_SYS_ADMIN: 21n,
  CAP_PERFMON: 38n,
  CAP_BPF: 39n,
} as const;
export type Capability = keyof typeof CAPABILITIES;

/** Sets of capabilities, one bit each. */
export interface Capabilities {
  /** Of this process. */
  effective: bigint;
  /** Capabilities that a child process keeps if the user is not root; null if /proc does not list them. */
  ambient: bigint | null;
}

/**
 * Reads /proc/self/status. Null if the file does not exist or has no capabilities.
 * @throws if it exists and cannot be read
 */
export async function readCapabilities(procRoot: string): Promise<Capabilities | null> {
  const status = await orAbsent(readFile(join(procRoot, 'self/status'), 'utf8'), '');
  const set = (name: string): bigint | null => {
    const digits = new RegExp(`^${name}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1];
    return digits === undefined ? null : BigInt(`0x${digits}`);
  };
  const effective = set('CapEff');
  return effective === null ? null : { effective, ambient: set('CapAmb') };
}

export function hasCapability(set: bigint, name: Capability): boolean {
  return (set & (1n << CAPABILITIES[name])) !== 0n;
}

/**
 * First version of bpftrace that checks for capabilities instead of user 0 (check_privileges in its run_bpftrace.cpp).
 */
export const FIRST_WITH_CAPABILITIES = [0, 25] as const;

/**
 * The capabilities that bpftrace 0.25 or newer lacks if this process starts it; empty if it has all, or if they are not
 * known. A process of a user other than root passes on only ambient capabilities.
 */
export function missingForBpftrace(capabilities: Capabilities | undefined, uid: number): Capability[] {
  if (capabilities === undefined) return [];
  const set = uid === 0 ? capabilities.effective : (capabilities.ambient ?? capabilities.effective);
  const lacks = (name: Capability): boolean => !hasCapability(set, name);
  const forFiles = uid === 0 ? [] : (['CAP_DAC_READ_SEARCH', 'CAP_DAC_OVERRIDE'] as const).filter(lacks);
  const forBpf = lacks('CAP_SYS_ADMIN') ? (['CAP_BPF', 'CAP_PERFMON'] as const).filter(lacks) : [];
  return [...forFiles, ...forBpf];
}
