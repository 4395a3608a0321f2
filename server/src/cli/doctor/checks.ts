import { compareVersions } from '../../collector/bpftrace/condition.ts';
import type { FragmentSet } from '../../collector/bpftrace/fragment.ts';
import type { Guard } from '../../collector/bpftrace/launch.ts';
import { OBSTACLES, type Plan, VFIO_MODULE } from '../../collector/bpftrace/plan.ts';
import { FIXES } from '../../collector/bpftrace/start-failure.ts';
import { helperFix } from '../../collector/bpftrace/version.ts';
import { hasCapability } from '../../collector/host/capabilities.ts';
import { type Distribution, installFix } from '../../collector/host/distribution.ts';
import type { HostFacts } from '../../collector/host/facts.ts';
import type { Surroundings, VfioDevice } from '../../collector/host/surroundings.ts';
import { type Check, found, missing, warning } from './diagnosis.ts';

/** All that a diagnosis is made of. */
export interface Examined {
  facts: HostFacts;
  surroundings: Surroundings;
  plan: Plan;
  fragments: FragmentSet;
  /** The command that ends bpftrace with this process. */
  guard: Guard;
  /** Why taskset cannot be run; null where it can. */
  taskset: string | null;
  /** Version of Node, e.g. `20.19.0`. */
  node: string;
  /** Wall clock, milliseconds since 1970. */
  wallMs: number;
}

const OLDEST_NODE = [20, 19];
const OLDEST_KERNEL = [6, 19];
/** bpftrace with its compiler, the ring between kernel and bpftrace, and this process. */
const MEMORY_MIB = 512;
const SOME_DEVICES = 8;

/** Everything that is looked at, in the order in which it is mended. */
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
    clock,
    memory,
    guard,
    taskset,
  ];
  return checks.map((check) => check(host)).filter((check) => check !== null);
}

function node({ node: version, surroundings }: Examined): Check {
  if (compareVersions(version.split('.').map(Number), OLDEST_NODE) >= 0)
    return found('node', `Node ${version}`);
  const remedy = `take Node 20.19 or newer of nodejs.org; or ${installFix(surroundings.distribution, 'nodejs')}, where that is new enough`;
  return missing('node', `Node ${version}; 20.19 or newer is needed`, remedy);
}

function kernel({ facts, surroundings }: Examined): Check {
  const [unread] = [...(facts.errors ?? []), ...surroundings.errors];
  if (unread !== undefined) {
    const message = `the host could not be read, so the other rows may be wrong: ${unread}`;
    return missing('kernel', message, FIXES.resources);
  }
  const [, release = ''] = /^(\d+\.\d+)/.exec(facts.kernel) ?? [];
  const old = release !== '' && compareVersions(release.split('.').map(Number), OLDEST_KERNEL) < 0;
  // A distribution may have taken the export into an older kernel: the function decides, not the number.
  if (!old || OBSTACLES.export(facts) === null) return found('kernel', facts.kernel);
  return missing(
    'kernel',
    `${facts.kernel}; mainline exports dma-bufs since 6.19`,
    kernelFix(surroundings.distribution),
  );
}

/** Distributions whose own newest kernel is too old, and those that have a newer one elsewhere. */
function kernelFix(distribution: Distribution | null): string {
  if (distribution?.id === 'debian' && distribution.version === '13') {
    return '`apt-get install -t trixie-backports linux-image-amd64`, with trixie-backports among the sources; then reboot';
  }
  const whose = distribution === null ? 'the distribution' : distribution.name;
  return `install a kernel built with CONFIG_VFIO_PCI_DMABUF=y (mainline: 6.19 or newer) from ${whose} or kernel.org; then reboot`;
}

function btf({ facts, surroundings }: Examined): Check {
  const failure = OBSTACLES.btf(facts);
  if (failure !== null) return missing('btf', failure.message, failure.remedy);
  if (!surroundings.vfio || facts.modules.includes(VFIO_MODULE)) {
    const modules = facts.modules.length === 0 ? '' : ` and ${facts.modules.length} of its modules`;
    return found('btf', `the kernel has it${modules}`);
  }
  return missing(
    'btf',
    `the kernel has BTF, its module ${VFIO_MODULE} has not: /sys/kernel/btf/${VFIO_MODULE} is missing`,
    'boot a kernel built with CONFIG_DEBUG_INFO_BTF_MODULES=y, and modules of the same build',
  );
}

function lockdown({ facts }: Examined): Check {
  const failure = OBSTACLES.lockdown(facts);
  if (failure !== null) return missing('lockdown', failure.message, failure.remedy);
  return found('lockdown', facts.lockdown ?? 'none');
}

function tracefs({ facts }: Examined): Check {
  const failure = OBSTACLES.tracefs(facts);
  if (failure !== null) return missing('tracefs', failure.message, `\`${failure.remedy}\``);
  return found('tracefs', 'mounted');
}

function kprobes({ surroundings }: Examined): Check {
  const { kprobes: there, kprobesEnabled, ftraceEnabled } = surroundings;
  if (!there) {
    const message = 'the kernel has no kprobes that perf can open';
    return missing(
      'kprobes',
      message,
      'boot a kernel built with CONFIG_KPROBES=y and CONFIG_KPROBE_EVENTS=y',
    );
  }
  if (!kprobesEnabled) {
    return missing('kprobes', 'kprobes are switched off', '`echo 1 > /sys/kernel/debug/kprobes/enabled`');
  }
  if (!ftraceEnabled) {
    const message = 'kernel.ftrace_enabled is 0: probes at the entry of a function are never run';
    return missing('kprobes', message, '`sysctl kernel.ftrace_enabled=1`');
  }
  return found('kprobes', 'the kernel has them');
}

function bpftrace({ facts }: Examined): Check {
  if ('path' in facts.bpftrace)
    return found('bpftrace', `${facts.bpftrace.version} (${facts.bpftrace.path})`);
  return missing('bpftrace', facts.bpftrace.message, facts.bpftrace.remedy);
}

function privilege({ facts, surroundings }: Examined): Check {
  const failure = OBSTACLES.privilege(facts);
  if (failure !== null) return missing('privilege', failure.message, failure.remedy);
  const capabilities = surroundings.capabilities?.effective ?? null;
  const has = (name: Parameters<typeof hasCapability>[1]) =>
    capabilities === null || hasCapability(capabilities, name);
  const user = facts.uid === 0 ? 'root' : `user ${facts.uid} with capabilities`;
  const grant = 'give it all capabilities: `docker run --privileged`, or none left out in its systemd unit';
  if (!has('CAP_SYS_ADMIN') && !(has('CAP_BPF') && has('CAP_PERFMON'))) {
    return missing('privilege', `${user}, without CAP_BPF and CAP_PERFMON`, grant);
  }
  if (has('CAP_SYS_PTRACE')) return found('privilege', user);
  const message = `${user}, without CAP_SYS_PTRACE: who holds a buffer, and the names of VMs, stay unknown`;
  return warning('privilege', message, grant);
}

function vfio({ surroundings, facts }: Examined): Check {
  if (surroundings.vfio || OBSTACLES.export(facts) === null) return found(VFIO_MODULE, 'loaded');
  return missing(
    VFIO_MODULE,
    'not loaded: nothing can be exported, and its functions cannot be found',
    '`modprobe vfio-pci`; for each boot, `echo vfio-pci > /etc/modules-load.d/vfio-pci.conf`',
  );
}

function dmabufExport({ facts, surroundings, plan }: Examined): Check {
  const failure = OBSTACLES.export(facts);
  if (failure === null) {
    const dialect = plan.runnable ? plan.composed.dialect : plan.dialect;
    return found('dma-buf export', `the kernel has it, dialect ${dialect}`);
  }
  // Without these two nothing is known of the functions of the module, and they are told by themselves.
  if (!facts.btf || !surroundings.vfio) return missing('dma-buf export', failure.message, failure.remedy);
  const remedy = `boot a kernel built with CONFIG_VFIO_PCI_DMABUF=y (mainline: 6.19 or newer): ${kernelFix(surroundings.distribution)}`;
  return missing('dma-buf export', failure.message, remedy);
}

/** Which functions are traced. One in a module that is not loaded is no fault: it is attached when the module comes. */
function probes({ facts, plan, fragments }: Examined): Check {
  const states = plan.runnable ? plan.composed.probes : plan.probes;
  const attached = states.filter((state) => state.attached).length;
  const count = `${attached} of ${states.length} functions can be traced`;
  const left = new Map(states.filter((state) => !state.attached).map((state) => [state.probe, state.reason]));
  const costs = [...left].map(([probe, reason]) => {
    const emits = fragments.probes.find(({ name }) => name === probe)?.emits ?? [];
    return `${probe} (${emits.join(', ') || 'which buffer an import is of'}): ${reason}`;
  });
  if (!plan.runnable) {
    const { reason, message, remedy } = plan.failure;
    if (reason === 'function_missing') return missing('probes', message, remedy);
    return warning('probes', `${count} now`, 'fix what is missing above first');
  }
  const told = costs.length === 0 ? count : `${count}. Not seen here: ${costs.join('; ')}`;
  // Of some functions another name does as well: only where a probe is left out for it something is not seen.
  const hidden = facts.untraceable.filter((name) =>
    costs.some((cost) => cost.includes(`function ${name} exists`)),
  );
  if (hidden.length === 0) return found('probes', told);
  const remedy = `take a kernel that lets them be traced: ${hidden.join(', ')} (not in available_filter_functions)`;
  return warning('probes', told, remedy);
}

function snapshots({ plan }: Examined): Check | null {
  if (!plan.runnable) return null;
  if ('program' in plan.oneshot) return found('snapshots', 'buffers that are there already can be listed');
  const message = `buffers that are there already cannot be listed: ${plan.oneshot.reason}`;
  return warning(
    'snapshots',
    message,
    'boot a kernel with the dma-buf iterator (6.16 or newer, CONFIG_BPF_SYSCALL=y)',
  );
}

function devices({ surroundings }: Examined): Check {
  const held = surroundings.devices;
  if (held.length === 0) {
    const install = installFix(surroundings.distribution, 'driverctl');
    return warning(
      'devices',
      'no PCI device is bound to a VFIO driver: there is nothing that could be exported',
      `let the VMM bind it; or ${install}, then \`driverctl set-override 0000:BB:DD.F vfio-pci\`, or with the name of its own VFIO driver where it has one (a GPU of Grace: nvgrace_gpu_vfio_pci)`,
    );
  }
  const list = (some: readonly VfioDevice[]) => {
    const shown = some.slice(0, SOME_DEVICES).map(({ device, driver }) => `${device} (${driver})`);
    return `${shown.join(', ')}${some.length > shown.length ? ` and ${some.length - shown.length} more` : ''}`;
  };
  const unable = held.filter(({ exports }) => exports !== true);
  if (unable.length === 0) return found('devices', list(held));
  const isKnown = unable.every(({ exports }) => exports === false);
  const what = isKnown ? 'cannot export' : 'cannot export, as far as is known';
  // Its own driver may be needed for migration, or for memory that vfio-pci does not have: it stays.
  return warning(
    'devices',
    `${held.length} bound; the drivers of these have no get_dmabuf_phys and ${what}: ${list(unable)}`,
    'leave them bound: an export of them fails with EOPNOTSUPP and is counted as `driver_unsupported`; take a version of these drivers that has get_dmabuf_phys',
  );
}

function pids({ surroundings }: Examined): Check | null {
  if (surroundings.initialPids === null) return null;
  if (surroundings.initialPids) return found('pids', 'those of the host');
  return warning(
    'pids',
    'this is a pid namespace of its own: VMs, owners and holders cannot be found by the pids that the kernel reports',
    '`docker run --pid=host`, `hostPID: true`',
  );
}

function clock({ surroundings, wallMs }: Examined): Check {
  const now = new Date(wallMs).toISOString().slice(0, 19);
  if (surroundings.hostClock === false) {
    return warning(
      'clock',
      'this is a time namespace of its own: times would be off by its offset',
      'run it outside of the time namespace (`unshare --time`)',
    );
  }
  if (wallMs >= Date.UTC(2025, 0)) return found('clock', `${now}Z`);
  return warning(
    'clock',
    `it is ${now}Z here: the times of events will be wrong`,
    `${installFix(surroundings.distribution, 'systemd-timesyncd')}, then \`timedatectl set-ntp true\``,
  );
}

function memory({ surroundings }: Examined): Check | null {
  if (surroundings.memory === null) return null;
  const mib = Math.floor(surroundings.memory / (1 << 20));
  if (mib >= MEMORY_MIB) return found('memory', `${mib} MiB available`);
  const message = `${mib} MiB available; bpftrace with its compiler, the ring of 16 MiB and this process want ${MEMORY_MIB} MiB`;
  return warning('memory', message, 'give the host, or the control group of the service, more memory');
}

function guard({ guard: { problem }, surroundings }: Examined): Check {
  if (problem === null) return found('setpriv', 'bpftrace ends with this process, however that ends');
  const message = `${problem}: without --pdeathsig a bpftrace whose daemon was killed lives on for a second`;
  return warning('setpriv', message, helperFix(surroundings.distribution));
}

function taskset({ taskset: problem, surroundings }: Examined): Check {
  if (problem === null) return found('taskset', 'every processor can be visited at a handover');
  const message = `${problem}: at a handover a call for each processor is reported as lost`;
  return warning('taskset', message, helperFix(surroundings.distribution));
}
