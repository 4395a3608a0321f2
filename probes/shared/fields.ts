import { field } from '../../server/src/protocol/declaration.ts';
import {
  readCause,
  readDevice,
  readFlag,
  readInteger,
  readPrivacy,
  readReason,
  readText,
  readUnsigned,
} from '../../server/src/protocol/readers.ts';

/** Fields with the same meaning in several records. */

export const t = field(readInteger, 'Time since boot. For an event with `ns`, the end of the call.', 'us');
export const ns = field(readInteger, 'Duration of the call.', 'ns');
export const pid = field(readInteger, 'Thread group id in the initial pid namespace. 0 is none.');
export const comm = field(readText, 'Name of the task.');
export const device = field(readDevice, 'Packed PCI address of the device that exports. 0 is unknown.');
export const inode = field(readInteger, 'Inode of the buffer.');
export const errno = field(readInteger, 'Positive errno of a rejection. 0 is success.');
export const reason = field(readReason, 'Why the kernel rejected the call.');
export const importer = field(
  readText,
  'Driver of the importing device, or the name of the device if it has no driver.',
);
export const importer_device = field(readText, 'Name of the importing device.');
export const privacy = field(readPrivacy, 'Privacy of the buffer.');
export const cause = field(readCause, 'Why the memory was revoked or restored.');
export const revoked = field(readFlag, 'Whether the memory is revoked now. In an event, 0 is a restore.');
export const ranges = field(readInteger, 'Number of ranges.');
export const bytes = field(readUnsigned, 'Size of the buffer.', 'bytes');
export const kvm = field(readFlag, 'Whether the device is linked to a KVM VM.');
// kvm->userspace_pid is task_pid_nr(current) in kvm_uevent_notify_change().
export const kvm_pid = field(
  readInteger,
  'Thread that created the VM of the device (`kvm->userspace_pid`). 0 is none.',
);
/** Of KVM's bind, unbind and zap. */
export const vm_pid = field(
  readInteger,
  'Thread that created the VM that binds, unbinds or loses its pages (`kvm->userspace_pid`).',
);
export const vm_type = field(
  readInteger,
  'Kind of the VM: the number of its `KVM_X86_*_VM`. 255 if the kernel stores no kind.',
);
