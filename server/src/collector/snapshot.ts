import { BpftraceChild, type ChildTiming } from '../bpftrace/process/child.ts';
import type { Launch } from '../bpftrace/process/launch.ts';
import { findHolders } from '../host/proc.ts';
import type { OnReadError } from '../lib/errno.ts';
import { PRIVACIES } from '../protocol/codes.ts';
import type { Snapshot, SnapshotBuffer } from '../protocol/wire.ts';

/** The exp_name of VFIO's dma-bufs. */
const EXPORTER = 'vfio_pci_core';

export interface SnapshotOptions {
  launch: Launch;
  /** The one-shot program, or why this host cannot run it. */
  oneshot: { program: string } | { reason: string };
  timing: ChildTiming;
  procRoot: string;
  bootUs: () => number;
  signal: AbortSignal;
  onError?: OnReadError;
}

interface KernelList {
  buffers: Map<number, SnapshotBuffer>;
  begin: number | null;
  end: number | null;
  errors: string[];
}

/**
 * All live VFIO dma-bufs from the kernel's list, with their holders from /proc. `t_begin` is before the walk of the
 * kernel's list and `t_end` after it, so that a buffer that is exported in between is not taken for released. If the
 * kernel's list is not available, only buffers with a holder are known.
 */
export async function takeSnapshot(options: SnapshotOptions): Promise<Omit<Snapshot, 'cause'>> {
  const { oneshot, bootUs, procRoot, signal, onError } = options;
  const before = bootUs();
  const kernel =
    'program' in oneshot ? await listKernelBuffers(options, oneshot.program) : noList(oneshot.reason);
  const held = await findHolders({
    procRoot,
    exporter: EXPORTER,
    signal,
    ...(onError === undefined ? {} : { onError }),
  });
  for (const { inode, bytes, holders } of held.buffers.values()) {
    const buffer = kernel.buffers.get(inode);
    if (buffer !== undefined) buffer.holders = holders;
    // If the kernel's list is complete, a buffer that is only in /proc was exported after it.
    else if (kernel.end === null) kernel.buffers.set(inode, { ...emptyBuffer(inode), bytes, holders });
  }
  const errors = [...kernel.errors, ...held.errors];
  return {
    t_begin: kernel.begin ?? before,
    t_end: kernel.end ?? bootUs(),
    complete: errors.length === 0,
    errors,
    buffers: [...kernel.buffers.values()].sort((a, b) => a.inode - b.inode),
    device_holders: held.devices,
  };
}

async function listKernelBuffers(options: SnapshotOptions, program: string): Promise<KernelList> {
  const list: KernelList = { buffers: new Map(), begin: null, end: null, errors: [] };
  let expected = -1;
  const child = new BpftraceChild({
    launch: options.launch,
    program,
    timing: options.timing,
    onDropped: () => list.errors.push('a line of the snapshot program was dropped'),
    onLine: ({ record }) => {
      if (record.type === 'ready') {
        list.begin = record.data.t;
      } else if (record.type === 'snapshot_end') {
        list.end = record.data.t;
        expected = record.data.buffers;
      } else if (record.type === 'snapshot_buffer') {
        const { t: _, kvm, privacy, ...known } = record.data;
        const vm = known.device === 0 ? {} : { kvm };
        list.buffers.set(known.inode, { ...known, ...vm, privacy: PRIVACIES.indexOf(privacy), holders: [] });
      } else if (record.type === 'failure') {
        list.errors.push('the snapshot program printed a line that cannot be decoded');
      } else if (record.type === 'helper_error' && record.data.retcode !== 0) {
        // bpftrace 0.27 also reports a lookup of a missing key, with the return code 0: that is not an error.
        list.errors.push(`a read of the snapshot program failed: ${record.data.helper}`);
      }
    },
  });
  const stop = (): void => child.stop();
  options.signal.addEventListener('abort', stop, { once: true });
  const end = await child.run();
  options.signal.removeEventListener('abort', stop);
  if (expected < 0) list.errors.push(`the snapshot program did not complete: ${end.message}`);
  else if (expected !== list.buffers.size) {
    list.errors.push(`the snapshot program listed ${expected} buffers, but ${list.buffers.size} arrived`);
  }
  return list;
}

function noList(reason: string): KernelList {
  return {
    buffers: new Map(),
    begin: null,
    end: null,
    errors: [`only buffers that a process holds are known: ${reason}`],
  };
}

function emptyBuffer(inode: number): SnapshotBuffer {
  return {
    inode,
    bytes: 0,
    device: 0,
    ranges: 0,
    revoked: false,
    privacy: 0,
    kvm_pid: 0,
    vm_type: 0,
    attachments: 0,
    holders: [],
  };
}
