import type { ChildReason } from '../protocol/wire.ts';

/** Why tracing cannot start: a reason for labels, a message and a remedy for people. */
export interface StartFailure {
  reason: ChildReason;
  message: string;
  remedy: string;
}

/** The remedy for a child that ended for this reason, if its message alone does not give it. */
export const FIXES = {
  permission:
    'give bpftrace CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN (in a container: --privileged); allow bpf(2) and perf_event_open(2) in ' +
    'its seccomp profile; check SELinux and AppArmor for denials (`ausearch -m avc -ts recent`, `dmesg`); ' +
    '/sys/kernel/security/lockdown must not be confidentiality. The tracer retries automatically',
  resources:
    'raise the limit that the message names: open files (LimitNOFILE=, `ulimit -n`), processes (TasksMax=) or memory (MemoryMax=); ' +
    'for EBUSY, stop the other tracer that uses the function. The tracer retries automatically',
  attach_failed:
    'look for errors in `dmesg`, and check whether the functions are in /sys/kernel/debug/kprobes/blacklist. The tracer retries automatically',
  not_root: 'run the tracer as root, for example with sudo',
  lockdown: 'boot with lockdown=integrity or none (/sys/kernel/security/lockdown)',
  no_btf: 'boot a kernel built with CONFIG_DEBUG_INFO_BTF=y; in a container, mount /sys',
  no_symbols: 'mount -t tracefs tracefs /sys/kernel/tracing',
  function_missing:
    'load vfio_pci_core (`modprobe vfio-pci`) on a kernel with VFIO dma-buf export (mainline: 6.19 or newer)',
} as const satisfies Partial<Record<ChildReason, string>>;

/** The general fix for a reason; null if there is none. */
export function fixFor(reason: ChildReason): string | null {
  return Object.hasOwn(FIXES, reason)
    ? ((FIXES as Partial<Record<ChildReason, string>>)[reason] ?? null)
    : null;
}
