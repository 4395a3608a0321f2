import type { Dialect, ProbeState } from '../../stream/wire.ts';
import { FIRST_WITH_CAPABILITIES, missingForBpftrace } from '../host/capabilities.ts';
import type { HostFacts } from '../host/facts.ts';
import { type Composed, compose, composeOneshot, dialectOf } from './compose.ts';
import { compareVersions } from './condition.ts';
import type { FragmentSet } from './fragment.ts';
import { FIXES, type StartFailure } from './start-failure.ts';
import type { Bpftrace } from './version.ts';

/** The module that exports the buffers. */
export const VFIO_MODULE = 'vfio_pci_core';

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

/** Decides from the host's facts. Pure. `excluded`: fragments that bpftrace has rejected here, with the reason. */
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
    return blocked({ reason: 'function_missing', message, remedy: FIXES.function_missing });
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
  readable({ errors }) {
    const first = errors?.[0];
    if (errors === undefined || first === undefined) return null;
    const more = errors.length > 1 ? ` and ${errors.length - 1} more` : '';
    return {
      reason: 'resources',
      message: `the host could not be asked: ${first}${more}`,
      remedy: FIXES.resources,
    };
  },
  btf({ btf, btfUnreadable }) {
    if (btf) return null;
    if (btfUnreadable === true) {
      return {
        reason: 'no_btf',
        message:
          '/sys/kernel/btf/vmlinux cannot be read: its format is newer than this program, or it is broken',
        remedy:
          'update vfio-dmabuf-tracer; `bpftool btf dump file /sys/kernel/btf/vmlinux` shows whether the file is whole',
      };
    }
    return {
      reason: 'no_btf',
      message: 'the kernel has no BTF: /sys/kernel/btf/vmlinux is missing',
      remedy: FIXES.no_btf,
    };
  },
  lockdown({ lockdown }) {
    if (lockdown !== 'confidentiality') return null;
    return {
      reason: 'lockdown',
      message: 'the kernel is locked down for confidentiality, which forbids tracing',
      remedy: FIXES.lockdown,
    };
  },
  privilege({ uid, tracefs, tracefsDenied, bpftraceVersion, capabilities }) {
    if (uid === 0 && tracefsDenied === undefined) return null;
    const bpftrace = bpftraceVersion === null ? 'bpftrace' : `bpftrace ${bpftraceVersion.join('.')}`;
    if (uid !== 0 && compareVersions(bpftraceVersion ?? [0], FIRST_WITH_CAPABILITIES) < 0) {
      return {
        reason: 'not_root',
        message: `${bpftrace} needs root, this process runs as user ${uid}`,
        remedy: `${FIXES.not_root}; bpftrace 0.25 or newer needs only capabilities`,
      };
    }
    const lacking = missingForBpftrace(capabilities, uid);
    if (uid !== 0 && lacking.length > 0) {
      return {
        reason: 'not_root',
        message: `${bpftrace} needs root, or ${lacking.join(', ')} as well, which user ${uid} does not hand on to it`,
        remedy: `add ${lacking.join(' ')} to AmbientCapabilities= of the unit, or run it as root`,
      };
    }
    if (tracefs) return null;
    if (uid === 0) {
      return {
        reason: 'permission',
        message: `tracefs may not be read: ${tracefsDenied}, though this process runs as root`,
        remedy: FIXES.permission,
      };
    }
    const errno = tracefsDenied === undefined ? '' : ` (${tracefsDenied})`;
    return {
      reason: 'not_root',
      message: `reading tracefs needs root or CAP_DAC_READ_SEARCH${errno}, this process runs as user ${uid}`,
      remedy: 'run it with sudo, or as root; or add CAP_DAC_READ_SEARCH to AmbientCapabilities= of the unit',
    };
  },
  tracefs({ tracefs }) {
    if (tracefs) return null;
    return {
      reason: 'no_symbols',
      message: 'tracefs is not mounted: there is no /sys/kernel/tracing/available_filter_functions',
      remedy: FIXES.no_symbols,
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
      remedy: FIXES.function_missing,
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
