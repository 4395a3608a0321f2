import { PRIVACIES } from '../../stream/codes.ts';
import { decodeLine } from '../../stream/decode.ts';
import type { Snapshot, SnapshotBuffer } from '../../stream/wire.ts';
import type { OnHostError } from '../host/host-errors.ts';
import { findHolders } from '../host/proc.ts';
import { BpftraceChild, type ChildTiming } from './child.ts';
import type { Launch } from './launch.ts';

/** The exp_name of the dma-bufs that are ours. */
export const EXPORTER = 'vfio_pci_core';

export interface SnapshotOptions {
  launch: Launch;
  /** The one-shot program, or why this host cannot run it. */
  oneshot: { program: string } | { reason: string };
  timing: ChildTiming;
  procRoot: string;
  bootUs: () => number;
  signal: AbortSignal;
  onError?: OnHostError;
}

interface KernelView {
  buffers: Map<number, SnapshotBuffer>;
  begin: number | null;
  end: number | null;
  errors: string[];
}

/**
 * Every VFIO dma-buf that lives, from the kernel's list, and who holds it, from /proc. `t_begin` is before the walk of the
 * kernel's list and `t_end` after it, so that what was made in between is not taken for gone. Where the kernel has none to give, only buffers that some process holds are known.
 */
export async function takeSnapshot(options: SnapshotOptions): Promise<Omit<Snapshot, 'cause'>> {
  const { oneshot, bootUs, procRoot, signal, onError } = options;
  const before = bootUs();
  const kernel = 'program' in oneshot ? await askKernel(options, oneshot.program) : noView(oneshot.reason);
  const held = await findHolders({
    procRoot,
    exporter: EXPORTER,
    signal,
    ...(onError === undefined ? {} : { onError }),
  });
  for (const { inode, bytes, holders } of held.buffers.values()) {
    const buffer = kernel.buffers.get(inode);
    if (buffer !== undefined) buffer.holders = holders;
    // With a whole list from the kernel, a buffer that is only in /proc was made since.
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

async function askKernel(options: SnapshotOptions, program: string): Promise<KernelView> {
  const view: KernelView = { buffers: new Map(), begin: null, end: null, errors: [] };
  let expected = -1;
  const child = new BpftraceChild({
    launch: options.launch,
    program,
    timing: options.timing,
    onDropped: () => view.errors.push('a line of the snapshot program was dropped'),
    onLine: (line) => {
      const record = decodeLine(line);
      if (record.type === 'ready') {
        view.begin = record.data.t;
      } else if (record.type === 'snapshot_end') {
        view.end = record.data.t;
        expected = record.data.buffers;
      } else if (record.type === 'snapshot_buffer') {
        const { t: _, kvm, privacy, ...known } = record.data;
        const vm = known.device === 0 ? {} : { kvm };
        view.buffers.set(known.inode, { ...known, ...vm, privacy: PRIVACIES.indexOf(privacy), holders: [] });
      } else if (record.type === 'failure') {
        view.errors.push('the snapshot program printed a line that cannot be read');
      } else if (record.type === 'helper_error' && record.data.retcode !== 0) {
        // 0 is no error: bpftrace 0.27 says it where a map has no such key.
        view.errors.push(`a read of the snapshot program failed: ${record.data.helper}`);
      }
    },
  });
  const stop = (): void => child.stop();
  options.signal.addEventListener('abort', stop, { once: true });
  const end = await child.run();
  options.signal.removeEventListener('abort', stop);
  if (expected < 0) view.errors.push(`the snapshot program did not reach its end: ${end.message}`);
  else if (expected !== view.buffers.size) {
    view.errors.push(`the snapshot program saw ${expected} buffers and ${view.buffers.size} came through`);
  }
  return view;
}

function noView(reason: string): KernelView {
  return {
    buffers: new Map(),
    begin: null,
    end: null,
    errors: [`only what processes hold is known: ${reason}`],
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
