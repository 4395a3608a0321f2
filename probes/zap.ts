import type { Declaration, FamilyDeclaration } from '../server/src/protocol/declaration.ts';
import { cause, comm, device, inode, ns, pid, revoked, t, vm_pid } from './shared/fields.ts';
import { missedReturns } from './shared/missed-returns.ts';

const ONLY_PRIVATE = 'Absent if the kernel has no kv_dmabuf_move_notify.';

const duration = {
  name: 'zap_duration',
  type: 'histogram',
  help: 'Duration of zaps of guest mappings at a revocation (kv_dmabuf_move_notify).',
  details:
    `The time that KVM took to remove the pages of a buffer from its guest. ${ONLY_PRIVATE} ` +
    'It is part of the duration of the revocation.',
  labels: [],
} as const satisfies FamilyDeclaration;

export const zap = {
  probe: 'zap',
  records: [
    {
      name: 'zap',
      tag: 21,
      event: true,
      fields: {
        t,
        ns,
        pid,
        device,
        inode,
        revoked,
        cause,
        vm_pid,
        comm,
      },
    },
  ],
  maps: [
    {
      name: 'zaps',
      number: 27,
      key: ['device', 'cause'],
      holds: 'count',
      of: 'zaps of guest mappings',
      feeds: {
        name: 'zaps',
        type: 'counter',
        help: 'Times that KVM removed the pages of a buffer from its guest (kv_dmabuf_move_notify).',
        details: `The kernel also calls it at a restore, when nothing is mapped. cause is that of the revocation or restore. ${ONLY_PRIVATE}`,
        labels: ['device', 'cause'],
      },
    },
    {
      name: 'zap_ns',
      number: 28,
      key: [],
      holds: 'sum',
      of: 'the duration of zaps at a revocation',
      feeds: duration,
    },
    {
      name: 'zap_bucket',
      number: 29,
      key: ['bucket'],
      holds: 'count',
      of: 'these zaps by duration',
      feeds: duration,
    },
  ],
  uses: [missedReturns],
} as const satisfies Declaration;
