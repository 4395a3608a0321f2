import { join } from 'node:path';
import type { Accelerator } from './accelerator.ts';
import { ARCHITECTURES, type Architecture } from './architecture.ts';

/**
 * The lab's devices, each in its own IOMMU group except the last two. `plain` is on the root bus and cannot be reset. `resettable` is alone
 * behind a root port, so a bus reset affects only it. `capable` also supports a function-level reset and power states.
 * `switched` are two behind one PCIe switch without ACS, in one IOMMU group.
 */
export const LAB_DEVICES = {
  plain: '0000:00:08.0',
  resettable: '0000:01:00.0',
  capable: '0000:02:00.0',
  switched: ['0000:05:00.0', '0000:06:00.0'],
} as const;

/** Arguments for an ivshmem device; `master` lets QEMU save its contents with the machine. */
function memoryDevice(id: string, size: string, place: string): string[] {
  return [
    '-object',
    `memory-backend-ram,id=${id},size=${size},share=on`,
    '-device',
    `ivshmem-plain,memdev=${id},master=on,${place}`,
  ];
}

const DEVICES = [
  ...memoryDevice('bar0', '16M', 'bus=pcie.0,addr=8.0'),
  ...['-device', 'pcie-root-port,id=rp1,bus=pcie.0,chassis=1,slot=1,addr=10.0'],
  ...memoryDevice('bar1', '4M', 'bus=rp1,addr=0.0'),
  ...['-device', 'pcie-root-port,id=rp2,bus=pcie.0,chassis=2,slot=2,addr=11.0'],
  ...['-device', 'virtio-rng-pci,bus=rp2,addr=0.0'],
  ...['-device', 'pcie-root-port,id=rp3,bus=pcie.0,chassis=3,slot=3,addr=12.0'],
  ...['-device', 'x3130-upstream,id=up,bus=rp3,addr=0.0'],
  ...['-device', 'xio3130-downstream,id=down1,bus=up,chassis=4,slot=4,addr=0.0'],
  ...memoryDevice('bar2', '1M', 'bus=down1,addr=0.0'),
  ...['-device', 'xio3130-downstream,id=down2,bus=up,chassis=5,slot=5,addr=1.0'],
  ...memoryDevice('bar3', '1M', 'bus=down2,addr=0.0'),
];

const INSTRUCTION_SHIFT = 3;
/** Guest time of one instruction in a guest that skips idle time, in nanoseconds. */
export const INSTRUCTION_NS = 2 ** INSTRUCTION_SHIFT;

/** Each instruction takes the same guest time; idle time is skipped. */
const SKIPS_IDLE = ['-smp', '1', '-icount', `shift=${INSTRUCTION_SHIFT},sleep=off`];

/** Names of the sockets and files of one running machine, in its folder. */
export const PORTS = {
  agent: 'agent',
  stream: 'stream',
  shell: 'shell',
  monitor: 'monitor',
  console: 'console',
  log: 'log',
} as const;

export interface MachineOptions {
  architecture: Architecture;
  accelerator: Accelerator;
  /** Folder of the machine's sockets, console and log. */
  directory: string;
  vmlinuz: string;
  initramfs: string;
  dialect: string;
  /** Images of the disks vda, vdb, …; all are read-only. */
  disks: readonly string[];
  /** TCP ports of 127.0.0.1 that are forwarded to ports of the guest. */
  forward: readonly { host: number; guest: number }[];
  skipsIdle: boolean;
  /** systemd is the guest's init. */
  systemd: boolean;
  /** Shell command that prints a saved state; the machine resumes from it instead of booting. */
  state?: string;
}

/**
 * The arguments of QEMU for one machine. A machine can resume from the saved state of another one with the same
 * arguments.
 */
export function machineArguments(options: MachineOptions): string[] {
  const { accelerator, directory, dialect, disks, forward, skipsIdle, systemd, state } = options;
  const at = (port: keyof typeof PORTS): string => join(directory, PORTS[port]);
  const ports = forward.map(({ host, guest }) => `,hostfwd=tcp:127.0.0.1:${host}-:${guest}`).join('');
  const board = ARCHITECTURES[options.architecture];
  const kernelArguments = [
    ...board.kernelArguments,
    'quiet',
    'panic=-1',
    'oops=panic',
    'net.ifnames=0',
    `lab.dialect=${dialect}`,
    ...(systemd ? ['lab.systemd'] : []),
  ];
  return [
    ...['-machine', `${board.machine},accel=${accelerator.name}`, '-cpu', accelerator.cpu, '-m', '3G'],
    ...(skipsIdle ? SKIPS_IDLE : ['-smp', '2']),
    ...['-nodefaults', '-no-reboot', '-display', 'none'],
    ...board.devices,
    ...['-serial', `file:${at('console')}`],
    ...['-qmp', `unix:${at('monitor')},server=on,wait=off`],
    ...['-kernel', options.vmlinuz, '-initrd', options.initramfs, '-append', kernelArguments.join(' ')],
    ...disks.flatMap((disk) => ['-drive', `file=${disk},format=raw,if=virtio,readonly=on,file.locking=off`]),
    ...['-device', 'virtio-serial-pci'],
    ...port('agent', `socket,path=${at('agent')}`),
    ...port('stream', `socket,path=${at('stream')}`),
    ...port('log', `file,path=${at('log')},append=on`),
    ...['-chardev', `socket,id=shell,path=${at('shell')},server=on,wait=off`],
    ...['-device', 'virtconsole,chardev=shell'],
    ...['-netdev', `user,id=net,restrict=on${ports}`, '-device', 'virtio-net-pci,netdev=net,romfile='],
    ...DEVICES,
    ...(state === undefined ? [] : ['-incoming', `exec:${state}`]),
  ];
}

/** Arguments for a port of the guest; its /sys/class/virtio-ports/<port>/name is lab.ID. */
function port(id: string, chardev: string): string[] {
  const [kind, ...options] = chardev.split(',');
  return [
    '-chardev',
    [kind, `id=${id}`, ...options].join(','),
    '-device',
    `virtserialport,chardev=${id},name=lab.${id}`,
  ];
}
