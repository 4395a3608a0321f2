import type { Declaration } from '../server/src/protocol/declaration.ts';
import { comm, device, inode, pid, t, vm_pid } from './shared/fields.ts';

export const unbind = {
  probe: 'unbind',
  records: [
    {
      name: 'unbind',
      tag: 10,
      event: true,
      fields: { t, pid, device, inode, vm_pid, comm },
    },
  ],
} as const satisfies Declaration;
