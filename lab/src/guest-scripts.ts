import type { GuestDialect } from './guest.ts';
import { exportsDmaBufs, type Kernel } from './kernels.ts';
import { oracleScript } from './oracle.ts';

/**
 * Shell script that keeps one VM open for the life of the guest, and fails if it cannot. When the first VM starts or
 * the last one ends, the kernel patches its scheduler code (preempt_notifier_inc). An emulated machine with several
 * CPUs does not always survive that.
 */
const KEEPS_A_VM = `
  /lab/bin/session vm=kept touch=/run/kept-vm sleep=86400 >/run/kept-vm.out 2>&1 </dev/null &
  n=0
  until [ -e /run/kept-vm ]; do sleep 0.1; n=$((n + 1)); [ $n -lt 300 ] || { cat /run/kept-vm.out; exit 1; }; done
  ! grep 'verb=vm ret=-' /run/kept-vm.out`;

/** Shell script that runs in every guest after its boot. The oracle's probes depend on the dialect. */
export function prepareScript(kernel: Kernel, dialect: GuestDialect): string {
  return [KEEPS_A_VM, ...(exportsDmaBufs(kernel) ? [oracleScript(dialect)] : [])].join('\n');
}

/** Shell text that expands to the device of the guest's port with this name (machine.ts). */
export function portOf(name: string): string {
  return `$(for port in /sys/class/virtio-ports/*; do [ "$(cat $port/name)" != lab.${name} ] || echo /dev/\${port##*/}; done)`;
}

export const PROGRAM_IN_GUEST = 'node /lab/dist/vfio-dmabuf-tracer.mjs';

export const START_COLLECTOR = `mkdir -p /run/tracer; cd /run/tracer; stream=${portOf('stream')}; log=${portOf('log')}
  ${PROGRAM_IN_GUEST} record $stream --log.format json >$log 2>&1 </dev/null & echo $! >/run/tracer/pid`;

/** Starts the complete daemon in the guest. */
export const START_DAEMON = `mkdir -p /run/tracer; cd /run/tracer; log=${portOf('log')}
  ${PROGRAM_IN_GUEST} run --web.listen-address 0.0.0.0:10043 >$log 2>&1 </dev/null & echo $! >/run/tracer/pid`;
