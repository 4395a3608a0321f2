import type { Dialect, ProbeState } from '../../stream/wire.ts';
import type { HostFacts } from '../host/facts.ts';
import { type Composed, compose, composeOneshot, dialectOf } from './compose.ts';
import { compareVersions } from './condition.ts';
import type { FragmentSet } from './fragment.ts';
import type { Bpftrace, StartFailure } from './version.ts';

/** The module that exports the buffers. */
export const VFIO_MODULE = 'vfio_pci_core';

const LOAD = 'load vfio_pci_core (`modprobe vfio-pci`) on a kernel with VFIO dma-buf export, 6.19 or newer';

/** What to run on this host, or why nothing can be. */
export type Plan =
  | {
      runnable: true;
      bpftrace: Bpftrace;
      composed: Composed;
      oneshot: { program: string } | { reason: string };
    }
  | { runnable: false; failure: StartFailure; dialect: Dialect; probes: ProbeState[] };

/** A plan that can be run. */
export type RunnablePlan = Extract<Plan, { runnable: true }>;

/** Decides from the host's facts. Pure. `excluded`: fragments that bpftrace has refused here, with the reason. */
export function composeForHost(
  facts: HostFacts,
  set: FragmentSet,
  excluded: ReadonlyMap<string, string> = new Map(),
): Plan {
  const composed = compose(facts, set, excluded);
  const { dialect, probes, parts } = composed;
  const failure = firstObstacle(facts);
  const blocked = (why: StartFailure): Plan => ({
    runnable: false,
    failure: why,
    dialect,
    probes: probes.map((probe) => ({ ...probe, attached: false, reason: probe.reason ?? why.message })),
  });
  if (failure !== null) return blocked(failure);
  if (!('path' in facts.bpftrace)) return blocked(facts.bpftrace);
  if (parts.length === 0) {
    const first = probes.find((probe) => probe.reason !== null)?.reason;
    const message = `no probe fits this kernel: ${first ?? 'there are no probes'}`;
    return blocked({ reason: 'function_missing', message, remedy: LOAD });
  }
  return {
    runnable: true,
    bpftrace: facts.bpftrace,
    composed,
    oneshot: snapshotFor(facts, set),
  };
}

/** What a snapshot cannot be made without is mostly the module itself, and then there is nothing to be seen. */
function snapshotFor(facts: HostFacts, set: FragmentSet): { program: string } | { reason: string } {
  const oneshot = composeOneshot('snapshot', facts, set);
  if ('program' in oneshot || facts.modules.includes(VFIO_MODULE)) return oneshot;
  const why = `no type information of ${VFIO_MODULE}; where that is not loaded, there can be no VFIO buffer`;
  return { reason: `${oneshot.reason}: ${why}` };
}

/** What can stand in the way of any tracing, the most fundamental first; each is null where it does not. */
export const OBSTACLES = {
  btf({ btf, btfUnreadable }) {
    if (btf) return null;
    if (btfUnreadable === true) {
      return {
        reason: 'no_btf',
        message:
          'the kernel tells its types in a form that this program cannot read: /sys/kernel/btf/vmlinux is newer than it, or broken',
        remedy:
          'update vfio-dmabuf-tracer; `bpftool btf dump file /sys/kernel/btf/vmlinux` shows whether the file is whole',
      };
    }
    return {
      reason: 'no_btf',
      message: 'the kernel does not tell its types: there is no /sys/kernel/btf/vmlinux',
      remedy: 'boot a kernel built with CONFIG_DEBUG_INFO_BTF=y; in a container, mount /sys',
    };
  },
  lockdown({ lockdown }) {
    if (lockdown !== 'confidentiality') return null;
    return {
      reason: 'lockdown',
      message: 'the kernel is locked down for confidentiality, which forbids tracing',
      remedy: 'boot with lockdown=integrity or none (/sys/kernel/security/lockdown)',
    };
  },
  privilege({ uid, tracefs, bpftraceVersion }) {
    // bpftrace 0.25 and later do with capabilities, and say themselves which one is missing; reading tracefs is one's own.
    const needsRoot = compareVersions(bpftraceVersion ?? [0], [0, 25]) < 0;
    if (uid === 0 || !(needsRoot || !tracefs)) return null;
    return {
      reason: 'not_root',
      message: `${needsRoot ? 'bpftrace' : 'reading tracefs'} needs root, this process runs as user ${uid}`,
      remedy: 'run it with sudo, or as root',
    };
  },
  tracefs({ tracefs }) {
    if (tracefs) return null;
    return {
      reason: 'no_symbols',
      message: 'tracefs is not mounted: there is no /sys/kernel/tracing/available_filter_functions',
      remedy: 'mount -t tracefs tracefs /sys/kernel/tracing',
    };
  },
  bpftrace({ bpftrace }) {
    return 'path' in bpftrace ? null : bpftrace;
  },
  export(facts) {
    const dialect = dialectOf(facts);
    // The probes on the dma-buf core alone would see nothing of VFIO: a zero that looks like peace.
    if (dialect !== 'core' && dialect !== 'none') return null;
    return {
      reason: 'no_symbols',
      message: 'neither the kernel nor a loaded module has VFIO dma-buf export (vfio_pci_dma_buf_attach)',
      remedy: LOAD,
    };
  },
} as const satisfies Record<string, (facts: HostFacts) => StartFailure | null>;

function firstObstacle(facts: HostFacts): StartFailure | null {
  for (const find of Object.values(OBSTACLES)) {
    const failure = find(facts);
    if (failure !== null) return failure;
  }
  return null;
}
