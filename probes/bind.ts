import { type Declaration, field } from '../server/src/protocol/declaration.ts';
import { readInteger, readUnsigned, readViolation } from '../server/src/protocol/readers.ts';
import { comm, device, errno, inode, ns, pid, privacy, reason, t, vm_pid } from './shared/fields.ts';
import { importCounts } from './shared/importing.ts';
import { missedReturns } from './shared/missed-returns.ts';
import { policyViolations } from './shared/policy-violations.ts';

/** The event of a bind, or of a memory slot that KVM rejects before or after its bind. */
export const bindEvent = {
  records: [
    {
      name: 'bind',
      tag: 9,
      event: true,
      fields: {
        t,
        ns,
        pid,
        device,
        inode,
        errno,
        reason,
        violation: field(readViolation, 'Policy violation of the call.'),
        vm_pid,
        owner_vm_pid: field(readInteger, 'Thread that created the VM of the device. 0 is none.'),
        slot_bytes: field(readUnsigned, 'Size of the memory slot.', 'bytes'),
        buffer_bytes: field(readUnsigned, 'Size of the buffer.', 'bytes'),
        privacy,
        comm,
      },
    },
  ],
} as const satisfies Declaration;

export const bind = {
  probe: 'bind',
  uses: [bindEvent, importCounts, policyViolations, missedReturns],
} as const satisfies Declaration;
