import type { KernelEvent } from '../contract/events.ts';
import type { VmRef } from '../contract/fields.ts';
import type { EventRecord, TupleOf } from '../protocol/tuples.ts';
import type { BufferState } from './buffer-state.ts';
import { deviceAddress, importerName } from './naming.ts';
import { type ProcessTable, vmOfTask, vmRef } from './processes.ts';
import { vmOf } from './vms.ts';

export interface EventContext {
  seq: number;
  time: string;
  processes: ProcessTable;
  /** The interface name of the PCI device at this address, such as mlx5_0. */
  interfaceOf: (device: string) => string | null;
  /** Packed PCI address of the buffer's device, for events that do not contain it. */
  device: number;
  /** The buffer, if it is known. */
  buffer: BufferState | undefined;
  /** Number of mappings that were lost by this event. */
  lostMappings: number;
}

/**
 * The event as the API shows it. The common fields are repeated in each case, because spreading them costs more than
 * decoding the line.
 */
export function toTracerEvent(record: EventRecord, context: EventContext): KernelEvent {
  const { seq, time, processes } = context;
  const { t, pid, comm } = record.data;
  switch (record.type) {
    case 'export': {
      const { data } = record;
      return {
        seq,
        time,
        boot_us: t,
        pid,
        comm,
        kind: 'export',
        device: deviceAddress(data.device),
        region: data.region,
        ranges: data.ranges,
        bytes: data.bytes,
        inode: data.inode,
        privacy: data.privacy,
        born_revoked: data.born_revoked,
        vm: vmOfExport(context, data),
        duration_ns: data.ns,
        errno: data.errno,
        reason: data.reason,
      };
    }
    case 'release':
      return {
        seq,
        time,
        boot_us: t,
        pid,
        comm,
        kind: 'release',
        device: deviceAddress(context.device),
        inode: record.data.inode,
      };
    case 'late_release': {
      const { data } = record;
      return {
        seq,
        time,
        boot_us: t,
        pid,
        comm,
        kind: 'late_release',
        device: deviceAddress(data.device || context.device),
        inode: data.inode,
        done: data.done,
      };
    }
    case 'import': {
      const { data } = record;
      return {
        seq,
        time,
        boot_us: t,
        pid,
        comm,
        kind: 'import',
        stage: data.stage,
        device: deviceAddress(data.device || context.device),
        inode: data.inode,
        importer: importerName(data.importer),
        importer_device: data.importer_device,
        importer_interface: context.interfaceOf(data.importer_device),
        by_vm: vmOfTask(processes.at(pid, t)),
        privacy: context.buffer?.privacy ?? null,
        duration_ns: data.ns,
        errno: data.errno,
        reason: data.reason,
        route: data.stage === 'map' && data.errno === 0 ? data.route : null,
      };
    }
    case 'detach':
    case 'unmap': {
      const { data } = record;
      return {
        seq,
        time,
        boot_us: t,
        pid,
        comm,
        kind: record.type,
        device: deviceAddress(data.device || context.device),
        inode: data.inode,
        importer: importerName(data.importer),
        importer_device: data.importer_device,
      };
    }
    case 'buffer_state': {
      const { data } = record;
      return {
        seq,
        time,
        boot_us: t,
        pid,
        comm,
        kind: 'buffer_state',
        device: deviceAddress(data.device || context.device),
        inode: data.inode,
        revoked: data.revoked,
        cause: data.cause,
        lost_mappings: context.lostMappings,
      };
    }
    case 'revoke_call': {
      const { data } = record;
      return {
        seq,
        time,
        boot_us: t,
        pid,
        comm,
        kind: 'revoke_call',
        device: deviceAddress(data.device),
        revoked: data.revoked,
        cause: data.cause,
        buffers: data.buffers,
        duration_ns: data.ns,
      };
    }
    case 'private_read': {
      const { data } = record;
      return {
        seq,
        time,
        boot_us: t,
        pid,
        comm,
        kind: 'private_read',
        reader: data.reader,
        device: deviceAddress(data.device || context.device),
        inode: data.inode,
        errno: data.errno,
        reason: data.reason,
        privacy: data.privacy,
        owner_vm: vmOfDevice(context, data.kvm_pid, t),
      };
    }
    case 'bind': {
      const { data } = record;
      return {
        seq,
        time,
        boot_us: t,
        pid,
        comm,
        kind: 'bind',
        device: deviceAddress(data.device || context.device),
        inode: data.inode,
        errno: data.errno,
        reason: data.reason,
        violation: data.violation,
        // KVM accepts a bind only from the process of the VM (kvm->mm).
        vm: vmRef(processes.at(pid, t)),
        owner_vm: vmOfDevice(context, data.owner_vm_pid, t),
        slot_bytes: data.slot_bytes,
        buffer_bytes: data.buffer_bytes,
        privacy: data.privacy,
        duration_ns: data.ns,
      };
    }
    case 'zap': {
      const { data } = record;
      return {
        seq,
        time,
        boot_us: t,
        pid,
        comm,
        kind: 'zap',
        device: deviceAddress(data.device || context.device),
        inode: data.inode,
        revoked: data.revoked,
        cause: data.cause,
        vm: vmOfDevice(context, data.vm_pid, t),
        duration_ns: data.ns,
      };
    }
    case 'unbind': {
      const { data } = record;
      return {
        seq,
        time,
        boot_us: t,
        pid,
        comm,
        kind: 'unbind',
        device: deviceAddress(data.device || context.device),
        inode: data.inode,
        vm: vmOfDevice(context, data.vm_pid, t),
      };
    }
    default:
      return record satisfies never;
  }
}

/**
 * The VM of a buffer's device. The buffer is preferred: it knows more than the pid of the thread that created the VM.
 */
function vmOfDevice({ buffer, processes }: EventContext, kvmPid: number, t: number): VmRef | null {
  return buffer?.vm?.pid === kvmPid ? vmOf(buffer) : vmRef(processes.at(kvmPid, t));
}

function vmOfExport(
  { processes }: EventContext,
  { t, pid, kvm_pid, vm_type }: TupleOf<'export'>['data'],
): VmRef | null {
  const vm = processes.at(kvm_pid, t, vm_type);
  const owner = { process: processes.at(pid, t) };
  return vmOf({ vm, vmType: vm === null ? null : vm_type, owner, deviceHolders: [] });
}
