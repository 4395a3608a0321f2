import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { orAbsent } from '../../support/errno.ts';

/** Capabilities by their number in include/uapi/linux/capability.h. */
export const CAPABILITIES = {
  CAP_DAC_OVERRIDE: 1n,
  CAP_DAC_READ_SEARCH: 2n,
  CAP_SYS_PTRACE: 19n,
  CAP_SYS_ADMIN: 21n,
  CAP_PERFMON: 38n,
  CAP_BPF: 39n,
} as const;
export type Capability = keyof typeof CAPABILITIES;

/** Sets of capabilities, a bit each. */
export interface Capabilities {
  /** Of this process. */
  effective: bigint;
  /** What a program keeps that this process starts as a user other than root; null where /proc does not give it. */
  ambient: bigint | null;
}

/**
 * Reads /proc/self/status. Null where it has no capabilities.
 * @throws where it cannot be read for another reason than its absence.
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

/** First version of bpftrace that asks for capabilities and not for user 0 (check_privileges in its run_bpftrace.cpp). */
export const FIRST_WITH_CAPABILITIES = [0, 25] as const;

/**
 * Which capabilities bpftrace 0.25 or newer would miss when this process starts it; empty where it has all, or where that is not known.
 * A user other than root hands on only ambient capabilities.
 */
export function missingForBpftrace(capabilities: Capabilities | undefined, uid: number): Capability[] {
  if (capabilities === undefined) return [];
  const set = uid === 0 ? capabilities.effective : (capabilities.ambient ?? capabilities.effective);
  const lacks = (name: Capability): boolean => !hasCapability(set, name);
  const forFiles = uid === 0 ? [] : (['CAP_DAC_READ_SEARCH', 'CAP_DAC_OVERRIDE'] as const).filter(lacks);
  const forBpf = lacks('CAP_SYS_ADMIN') ? (['CAP_BPF', 'CAP_PERFMON'] as const).filter(lacks) : [];
  return [...forFiles, ...forBpf];
}
