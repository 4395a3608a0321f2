import { type Declaration, field } from '../../server/src/protocol/declaration.ts';
import { readInteger } from '../../server/src/protocol/readers.ts';
import {
  bytes,
  device,
  inode,
  kvm,
  kvm_pid,
  privacy,
  ranges,
  revoked,
  t,
  vm_type,
} from '../shared/fields.ts';

const ONE_SHOT = 'only in the one-shot snapshot program';

export const snapshot = {
  records: [
    {
      name: 'snapshot_buffer',
      tag: 11,
      event: false,
      fields: {
        t,
        inode,
        bytes,
        device,
        revoked,
        ranges,
        privacy,
        kvm,
        kvm_pid,
        vm_type,
        attachments: field(readInteger, 'Number of attachments that were counted.'),
      },
      note: ONE_SHOT,
    },
    {
      name: 'snapshot_end',
      tag: 12,
      event: false,
      fields: { t, buffers: field(readInteger, 'Number of buffers that the snapshot has listed.') },
      note: `${ONE_SHOT}; its last record`,
    },
  ],
} as const satisfies Declaration;
