import type { ChildReason } from '../../stream/wire.ts';

/** Why tracing cannot start, for people and as a label. */
export interface StartFailure {
  reason: ChildReason;
  message: string;
  remedy: string;
}

/** What to do about a child that ended for this reason, where its message alone does not say it. */
export const FIXES = {
  permission:
    'give bpftrace CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN (in a container: --privileged); let its seccomp profile pass bpf(2) and ' +
    'perf_event_open(2); look for a denial of SELinux or AppArmor (`ausearch -m avc -ts recent`, `dmesg`); ' +
    '/sys/kernel/security/lockdown must not be confidentiality. It is tried again by itself',
  resources:
    'raise the limit of open files (LimitNOFILE=, `ulimit -n`), of processes (TasksMax=) or of memory (MemoryMax=), whichever the ' +
    'message names; for EBUSY, stop the other tracer that has the function. It is tried again by itself',
  attach_failed:
    'look for errors in `dmesg`, and check whether the functions are in /sys/kernel/debug/kprobes/blacklist. It is tried again by itself',
  not_root: 'run it with sudo, or as root',
  lockdown: 'boot with lockdown=integrity or none (/sys/kernel/security/lockdown)',
  no_btf: 'boot a kernel built with CONFIG_DEBUG_INFO_BTF=y; in a container, mount /sys',
  no_symbols: 'mount -t tracefs tracefs /sys/kernel/tracing',
  function_missing:
    'load vfio_pci_core (`modprobe vfio-pci`) on a kernel with VFIO dma-buf export (mainline: 6.19 or newer)',
} as const satisfies Partial<Record<ChildReason, string>>;

/** The fix for a reason; null where there is none beyond the message. */
export function fixFor(reason: ChildReason): string | null {
  return Object.hasOwn(FIXES, reason)
    ? ((FIXES as Partial<Record<ChildReason, string>>)[reason] ?? null)
    : null;
}
