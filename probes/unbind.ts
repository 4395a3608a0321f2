import { type Declaration, field } from '../server/src/protocol/declaration.ts';
import { readInteger } from '../server/src/protocol/readers.ts';
import { comm, device, inode, pid, t } from './shared/fields.ts';

export const unbind = {
  probe: 'unbind',
  records: [
    {
      name: 'unbind',
      tag: 10,
      event: true,
      fields: {
        t,
        pid,
        device,
        inode,
        vm_pid: field(readInteger, 'Thread that created the VM that unbinds (`kvm->userspace_pid`).'),
        comm,
      },
    },
  ],
} as const satisfies Declaration;
