import { FIRST_WITH_CAPABILITIES, missingForBpftrace } from '../host/capabilities.ts';
import { compareVersions } from '../lib/versions.ts';
import type { Dialect, ProbeState } from '../protocol/wire.ts';
import { type Composed, compose, composeOneshot, dialectOf } from './compiler/compose.ts';
import type { FragmentSet } from './compiler/fragment-set.ts';
import type { HostFacts } from './facts.ts';
import type { Bpftrace } from './installed.ts';
import { FIXES, type StartFailure } from './start-failure.ts';

/** The module that exports the buffers. */
export const VFIO_MODULE = 'vfio_pci_core';

/** What to run on this host, or why nothing can run. */
export type Plan =
  | {
      runnable: true;
      bpftrace: Bpftrace;
      composed: Composed;
      oneshot: { program: string } | { reason: string };
    }
  | { runnable: false; failure: StartFailure; dialect: Dialect; probes: ProbeState[] };

export type RunnablePlan = Extract<Plan, { runnable: true }>;

/**
 * Makes the plan from the facts of the host. Pure.
 *
 * @param excluded fragments that bpftrace has rejected on this host, with the reason
 */
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
    const message = `no probe can be attached on this kernel: ${first ?? 'there are no probes'}`;
    return blocked({ reason: 'function_missing', message, remedy: FIXES.function_missing });
  }
  return {
    runnable: true,
    bpftrace: facts.bpftrace,
    composed,
    oneshot: snapshotFor(facts, set),
  };
}

/**
 * The usual reason for no snapshot is that vfio_pci_core is not loaded. The message then adds that no VFIO buffer can
 * exist.
 */
function snapshotFor(facts: HostFacts, set: FragmentSet): { program: string } | { reason: string } {
  const oneshot = composeOneshot('snapshot', facts, set);
  if ('program' in oneshot || facts.modules.includes(VFIO_MODULE)) return oneshot;
  const why = `${VFIO_MODULE} has no BTF; if it is not loaded, no VFIO buffer can exist`;
  return { reason: `${oneshot.reason}: ${why}` };
}

/**
 * Obstacles that prevent all tracing, the most fundamental first. Each function returns null if its obstacle is absent.
 */
export const OBSTACLES = {
  readable({ errors }) {
    const first = errors?.[0];
    if (errors === undefined || first === undefined) return null;
    const more = errors.length > 1 ? ` and ${errors.length - 1} more` : '';
    return {
      reason: 'resources',
      message: `the host could not be inspected: ${first}${more}`,
      remedy: FIXES.resources,
    };
  },
  btf({ btf, btfUnreadable }) {
    if (btf) return null;
    if (btfUnreadable === true) {
      return {
        reason: 'no_btf',
        message:
          '/sys/kernel/btf/vmlinux cannot be parsed: its format is newer than this program supports, or the file is damaged',
        remedy:
          'update vfio-dmabuf-tracer; `bpftool btf dump file /sys/kernel/btf/vmlinux` shows whether the file is intact',
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
        message: `${bpftrace} needs root, but this process runs as user ${uid}`,
        remedy: `${FIXES.not_root}; bpftrace 0.25 or newer needs only capabilities`,
      };
    }
    const lacking = missingForBpftrace(capabilities, uid);
    if (uid !== 0 && lacking.length > 0) {
      return {
        reason: 'not_root',
        message: `${bpftrace} needs root, or ${lacking.join(', ')}, which user ${uid} does not pass on to it`,
        remedy: `add ${lacking.join(' ')} to AmbientCapabilities= of the unit, or run the tracer as root`,
      };
    }
    if (tracefs) return null;
    if (uid === 0) {
      return {
        reason: 'permission',
        message: `access to tracefs is denied (${tracefsDenied}), although this process runs as root`,
        remedy: FIXES.permission,
      };
    }
    const errno = tracefsDenied === undefined ? '' : ` (${tracefsDenied})`;
    return {
      reason: 'not_root',
      message: `reading tracefs needs root or CAP_DAC_READ_SEARCH${errno}, but this process runs as user ${uid}`,
      remedy: 'run the tracer as root, or add CAP_DAC_READ_SEARCH to AmbientCapabilities= of the unit',
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
    // Probes on the dma-buf core alone cannot trace VFIO: their zeros would be misleading.
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
