import { type Declaration, type FamilyDeclaration, field } from '../server/src/protocol/declaration.ts';
import { readInteger } from '../server/src/protocol/readers.ts';
import { cause, comm, device, inode, ns, pid, revoked, t } from './shared/fields.ts';
import { missedReturns } from './shared/missed-returns.ts';

const OF_THE_CAUSE = 'cause is the function that called for it.';

const duration = {
  name: 'revocation_duration',
  type: 'histogram',
  help: 'Duration of kernel calls that revoked at least one buffer (vfio_pci_dma_buf_move).',
  details:
    'If the kernel waits for importers to unmap (mainline: since 7.1), the duration includes the wait.',
  labels: [],
} as const satisfies FamilyDeclaration;

export const revoke = {
  probe: 'revoke',
  records: [
    {
      name: 'buffer_state',
      tag: 6,
      event: true,
      fields: { t, pid, device, inode, revoked, cause, comm },
    },
    {
      name: 'revoke_call',
      tag: 7,
      event: true,
      fields: {
        t,
        ns,
        pid,
        device,
        revoked,
        cause,
        buffers: field(readInteger, 'Number of buffers of the device that the call revoked or restored.'),
        comm,
      },
    },
  ],
  maps: [
    {
      name: 'revocations',
      number: 6,
      key: ['device', 'cause'],
      holds: 'count',
      of: 'buffers revoked',
      feeds: {
        name: 'revocations',
        type: 'counter',
        help: 'Buffers whose memory was revoked from all importers (vfio_pci_dma_buf_move).',
        details: OF_THE_CAUSE,
        labels: ['device', 'cause'],
      },
    },
    {
      name: 'restores',
      number: 7,
      key: ['device', 'cause'],
      holds: 'count',
      of: 'buffers restored',
      feeds: {
        name: 'restorations',
        type: 'counter',
        help: 'Revoked buffers whose memory was made available again (vfio_pci_dma_buf_move).',
        details: OF_THE_CAUSE,
        labels: ['device', 'cause'],
      },
    },
    {
      name: 'revoke_ns',
      number: 8,
      key: [],
      holds: 'sum',
      of: 'the duration of the kernel calls that revoked at least one buffer',
      feeds: duration,
    },
    {
      name: 'revoke_bucket',
      number: 9,
      key: ['bucket'],
      holds: 'count',
      of: 'these calls by duration',
      feeds: duration,
    },
  ],
  uses: [missedReturns],
} as const satisfies Declaration;
