import type { HostFacts } from '../../bpftrace/facts.ts';
import { helperFix } from '../../bpftrace/installed.ts';
import { OBSTACLES, type Plan, VFIO_MODULE } from '../../bpftrace/plan.ts';
import type { Guard } from '../../bpftrace/process/launch.ts';
import { FIXES } from '../../bpftrace/start-failure.ts';
import { hasCapability } from '../../host/capabilities.ts';
import { type Distribution, installFix } from '../../host/distribution.ts';
import type { Surroundings, VfioDevice } from '../../host/surroundings.ts';
import { compareVersions } from '../../lib/versions.ts';
import { recordsOfProbe } from '../../protocol/declared.ts';
import { type Check, missing, ok, warning } from './diagnosis.ts';

/** Everything that the checks read. */
export interface Examined {
  facts: HostFacts;
  surroundings: Surroundings;
  plan: Plan;
  /** The command that makes the kernel kill bpftrace when this process ends (setpriv --pdeathsig). */
  guard: Guard;
  /** Why taskset cannot be run; null if it can. */
  taskset: string | null;
  /** Version of Node, e.g. `20.19.0`. */
  node: string;
  /** Wall clock, milliseconds since 1970. */
  wallMs: number;
}

const OLDEST_NODE = [20, 19];
const OLDEST_KERNEL = [6, 19];
/** For bpftrace with its compiler, the ring buffer between kernel and bpftrace, and this process. */
const MEMORY_MIB = 512;
const MAX_LISTED_DEVICES = 8;

/** Runs all checks, in the order in which a user has to fix them. */
export function examine(host: Examined): Check[] {
  const checks = [
    node,
    kernel,
    btf,
    lockdown,
    tracefs,
    kprobes,
    bpftrace,
    privilege,
    vfio,
    dmabufExport,
    probes,
    snapshots,
    devices,
    pids,
    names,
    clock,
    memory,
    guard,
    taskset,
  ];
  return checks.map((check) => check(host)).filter((check) => check !== null);
}

function node({ node: version, surroundings }: Examined): Check {
  if (compareVersions(version.split('.').map(Number), OLDEST_NODE) >= 0) return ok('node', `Node ${version}`);
  const remedy = `install Node 20.19 or newer from nodejs.org; or ${installFix(surroundings.distribution, 'nodejs')}, if that version is new enough`;
  return missing('node', `Node ${version}; 20.19 or newer is needed`, remedy);
}

function kernel({ facts, surroundings }: Examined): Check {
  const [readError] = [...(facts.errors ?? []), ...surroundings.errors];
  if (readError !== undefined) {
    const message = `the host could not be read, so the other rows may be wrong: ${readError}`;
    return missing('kernel', message, FIXES.resources);
  }
  const [, release = ''] = /^(\d+\.\d+)/.exec(facts.kernel) ?? [];
  const old = release !== '' && compareVersions(release.split('.').map(Number), OLDEST_KERNEL) < 0;
  // A distribution may have backported the export to an older kernel, so the function decides, not the version.
  if (!old || OBSTACLES.export(facts) === null) return ok('kernel', facts.kernel);
  return missing(
    'kernel',
    `${facts.kernel}; mainline exports VFIO memory as dma-bufs since 6.19`,
    kernelFix(surroundings.distribution),
  );
}

/** Versions of distributions that are known to have no kernel with the export, not even in their backports. */
const WITHOUT_EXPORT: Readonly<Record<string, readonly string[]>> = {
  debian: ['11', '12'],
  ubuntu: ['22.04', '24.04'],
};

/** How to install a kernel with the export on this distribution. */
function kernelFix(distribution: Distribution | null): string {
  if (distribution?.id === 'debian' && distribution.version === '13') {
    return 'add trixie-backports to the APT sources; then `apt-get install -t trixie-backports linux-image-amd64`; then reboot';
  }
  const kernel = 'a kernel built with CONFIG_VFIO_PCI_DMABUF=y (mainline: 6.19 or newer)';
  const name = distribution?.name ?? 'the distribution';
  const isWithout = WITHOUT_EXPORT[distribution?.id ?? '']?.includes(distribution?.version ?? '') === true;
  const source = isWithout
    ? `from kernel.org; ${name} has none`
    : `from kernel.org, or from ${name} if it has one`;
  return `install ${kernel} ${source}; then reboot`;
}

function btf({ facts, surroundings }: Examined): Check {
  const failure = OBSTACLES.btf(facts);
  if (failure !== null) return missing('btf', failure.message, failure.remedy);
  if (!surroundings.vfio || facts.modules.includes(VFIO_MODULE)) {
    const modules = facts.modules.length === 0 ? 'has' : `and ${facts.modules.length} of its modules have`;
    return ok('btf', `the kernel ${modules} BTF`);
  }
  return missing(
    'btf',
    `the kernel has BTF, but its module ${VFIO_MODULE} has not: /sys/kernel/btf/${VFIO_MODULE} is missing`,
    'boot a kernel built with CONFIG_DEBUG_INFO_BTF_MODULES=y, with modules of the same build',
  );
}

function lockdown({ facts }: Examined): Check {
  const failure = OBSTACLES.lockdown(facts);
  if (failure !== null) return missing('lockdown', failure.message, failure.remedy);
  return ok('lockdown', facts.lockdown ?? 'none');
}

function tracefs({ facts }: Examined): Check {
  const failure = OBSTACLES.tracefs(facts);
  if (failure !== null) return missing('tracefs', failure.message, `\`${failure.remedy}\``);
  return ok('tracefs', 'mounted');
}

function kprobes({ surroundings }: Examined): Check {
  const { kprobes: available, kprobesEnabled, ftraceEnabled } = surroundings;
  if (!available) {
    const message = 'the kernel has no kprobes that perf can open';
    return missing(
      'kprobes',
      message,
      'boot a kernel built with CONFIG_KPROBES=y and CONFIG_KPROBE_EVENTS=y',
    );
  }
  if (!kprobesEnabled) {
    return missing('kprobes', 'kprobes are disabled', '`echo 1 > /sys/kernel/debug/kprobes/enabled`');
  }
  if (!ftraceEnabled) {
    const message = 'kernel.ftrace_enabled is 0: probes at the entry of a function never run';
    return missing('kprobes', message, '`sysctl kernel.ftrace_enabled=1`');
  }
  return ok('kprobes', 'enabled');
}

function bpftrace({ facts }: Examined): Check {
  if ('path' in facts.bpftrace) return ok('bpftrace', `${facts.bpftrace.version} (${facts.bpftrace.path})`);
  return missing('bpftrace', facts.bpftrace.message, facts.bpftrace.remedy);
}

function privilege({ facts, surroundings }: Examined): Check {
  const failure = OBSTACLES.privilege(facts);
  if (failure !== null) return missing('privilege', failure.message, failure.remedy);
  const capabilities = surroundings.capabilities?.effective ?? null;
  const has = (name: Parameters<typeof hasCapability>[1]) =>
    capabilities === null || hasCapability(capabilities, name);
  const user = facts.uid === 0 ? 'root' : `user ${facts.uid} with capabilities`;
  const grant =
    'give it all capabilities: `docker run --privileged`, or a systemd unit that does not drop any';
  if (!has('CAP_SYS_ADMIN') && !(has('CAP_BPF') && has('CAP_PERFMON'))) {
    return missing('privilege', `${user}, without CAP_BPF and CAP_PERFMON`, grant);
  }
  if (has('CAP_SYS_PTRACE')) return ok('privilege', user);
  const message = `${user}, without CAP_SYS_PTRACE: the holders of buffers and the names of VMs stay unknown`;
  return warning('privilege', message, grant);
}

function vfio({ surroundings, facts }: Examined): Check {
  if (surroundings.vfio || OBSTACLES.export(facts) === null) return ok(VFIO_MODULE, 'loaded');
  return missing(
    VFIO_MODULE,
    'not loaded: no device can export memory, and the functions to trace cannot be found',
    '`modprobe vfio-pci`; for each boot, `echo vfio-pci > /etc/modules-load.d/vfio-pci.conf`',
  );
}

function dmabufExport({ facts, surroundings, plan }: Examined): Check {
  const failure = OBSTACLES.export(facts);
  if (failure === null) {
    const dialect = plan.runnable ? plan.composed.dialect : plan.dialect;
    return ok('dma-buf export', `available, dialect ${dialect}`);
  }
  // Without BTF or the module, its functions are unknown. The checks btf and vfio_pci_core report these causes.
  if (!facts.btf || !surroundings.vfio) return missing('dma-buf export', failure.message, failure.remedy);
  const remedy = `boot a kernel built with CONFIG_VFIO_PCI_DMABUF=y (mainline: 6.19 or newer): ${kernelFix(surroundings.distribution)}`;
  return missing('dma-buf export', failure.message, remedy);
}

/**
 * Which functions can be traced. A function of a module that is not loaded is not a fault: the probe is attached when the module is
 * loaded.
 */
function probes({ facts, plan }: Examined): Check {
  const states = plan.runnable ? plan.composed.probes : plan.probes;
  const attached = states.filter((state) => state.attached).length;
  const count = `${attached} of ${states.length} probes fit this kernel`;
  const notAttached = new Map(
    states.filter((state) => !state.attached).map((state) => [state.probe, state.reason]),
  );
  const missed = [...notAttached].map(([probe, reason]) => {
    return `${probe} (${recordsOfProbe(probe).join(', ') || 'which buffer an import belongs to'}): ${reason}`;
  });
  if (!plan.runnable) {
    const { reason, message, remedy } = plan.failure;
    if (reason === 'function_missing') return missing('probes', message, remedy);
    return warning(
      'probes',
      'no probe can be attached before the rows above are fixed',
      'fix the rows above',
    );
  }
  const summary = missed.length === 0 ? count : `${count}. Not attached here: ${missed.join('; ')}`;
  // Some functions have an alternative. A hidden function matters only if a probe is not attached because of it.
  const hidden = facts.untraceable.filter((name) =>
    missed.some((text) => text.includes(`function ${name} exists`)),
  );
  if (hidden.length === 0) return ok('probes', summary);
  const remedy = `boot a kernel that lists these functions in available_filter_functions: ${hidden.join(', ')}`;
  return warning('probes', summary, remedy);
}

function snapshots({ plan }: Examined): Check | null {
  if (!plan.runnable) return null;
  if ('program' in plan.oneshot) return ok('snapshots', 'existing buffers can be listed');
  const message = `existing buffers cannot be listed: ${plan.oneshot.reason}`;
  return warning(
    'snapshots',
    message,
    'boot a kernel with the dma-buf iterator (6.16 or newer, CONFIG_BPF_SYSCALL=y)',
  );
}

function devices({ surroundings }: Examined): Check {
  const bound = surroundings.devices;
  if (bound.length === 0) {
    const install = installFix(surroundings.distribution, 'driverctl');
    return warning(
      'devices',
      'no PCI device is bound to a VFIO driver, so no memory can be exported',
      `bind it: with libvirt, \`managed='yes'\`; or ${install}, then \`driverctl set-override 0000:BB:DD.F vfio-pci\`; if the device has a VFIO driver of its own, name that driver (Grace GPUs: nvgrace_gpu_vfio_pci)`,
    );
  }
  const list = (some: readonly VfioDevice[]) => {
    const shown = some.slice(0, MAX_LISTED_DEVICES).map(({ device, driver }) => `${device} (${driver})`);
    return `${shown.join(', ')}${some.length > shown.length ? ` and ${some.length - shown.length} more` : ''}`;
  };
  const unable = bound.filter(({ exports }) => exports !== true);
  if (unable.length === 0) return ok('devices', list(bound));
  const isKnown = unable.every(({ exports }) => exports === false);
  const what = isKnown ? 'cannot export' : 'probably cannot export';
  // The fix does not suggest vfio-pci: migration, or memory that vfio-pci does not expose, may need the other driver.
  return warning(
    'devices',
    `${bound.length} bound; the drivers of these have no get_dmabuf_phys and ${what}: ${list(unable)}`,
    'leave them bound: the kernel rejects their exports with EOPNOTSUPP (reason `driver_unsupported`); to export, use a version of these drivers that has get_dmabuf_phys',
  );
}

function pids({ surroundings }: Examined): Check | null {
  if (surroundings.initialPids === null) return null;
  if (surroundings.initialPids) return ok('pids', 'in the pid namespace of the host');
  return warning(
    'pids',
    'this process is in another pid namespace than the host: the pids that the kernel reports do not lead to VMs, owners and holders',
    '`docker run --pid=host`, `hostPID: true`',
  );
}

/** Whether pods and containers can be named. In another pid namespace no process is, which the check pids reports. */
function names({ surroundings: { nameSources, initialPids } }: Examined): Check | null {
  if (initialPids === false) return null;
  if (nameSources === null) {
    return warning(
      'names',
      'the root directory of process 1 cannot be read: the names of pods and containers stay unknown',
      'give this process CAP_SYS_PTRACE (`docker run --privileged`), and no sandbox that hides process 1',
    );
  }
  const sources = nameSources.length === 0 ? 'no other source' : nameSources.join(', ');
  return ok('names', `of pods and containers: ${sources}, and the command lines of conmon`);
}

function clock({ surroundings, wallMs }: Examined): Check {
  const now = new Date(wallMs).toISOString().slice(0, 19);
  if (surroundings.hostClock === false) {
    return warning(
      'clock',
      'this process is in another time namespace than the host: times are wrong by its offset',
      'run it outside this time namespace, without `unshare --time`',
    );
  }
  if (wallMs >= Date.UTC(2025, 0)) return ok('clock', `${now}Z`);
  return warning(
    'clock',
    `the wall clock is at ${now}Z: the times of events will be wrong`,
    `${installFix(surroundings.distribution, 'systemd-timesyncd')}, then \`timedatectl set-ntp true\``,
  );
}

function memory({ surroundings }: Examined): Check | null {
  if (surroundings.memory === null) return null;
  const mib = Math.floor(surroundings.memory / (1 << 20));
  if (mib >= MEMORY_MIB) return ok('memory', `${mib} MiB available`);
  const message = `${mib} MiB available; bpftrace with its compiler, its 16 MiB ring buffer and this process need ${MEMORY_MIB} MiB`;
  return warning('memory', message, 'give the host, or the control group of the service, more memory');
}

function guard({ guard: { problem }, surroundings }: Examined): Check {
  if (problem === null) return ok('setpriv', 'it starts bpftrace and the server of `run`');
  const message = `${problem}: \`run\` needs it to start a server without privileges, and bpftrace would run for another second after a kill`;
  return missing('setpriv', message, helperFix(surroundings.distribution));
}

function taskset({ taskset: problem, surroundings }: Examined): Check {
  if (problem === null) return ok('taskset', 'a handover can run it on every CPU');
  const message = `${problem}: each handover reports one lost call for each CPU`;
  return warning('taskset', message, helperFix(surroundings.distribution));
}
