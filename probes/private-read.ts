import { READERS } from '../server/src/protocol/codes.ts';
import { type Declaration, field } from '../server/src/protocol/declaration.ts';
import { readReader } from '../server/src/protocol/readers.ts';
import { comm, device, errno, inode, kvm_pid, pid, privacy, reason, t } from './shared/fields.ts';
import { missedReturns } from './shared/missed-returns.ts';

const ONLY_PRIVATE = 'Absent if the kernel has no vfio_dma_buf_get_data.';

export const privateRead = {
  probe: 'private_read',
  records: [
    {
      name: 'private_read',
      tag: 8,
      event: true,
      fields: {
        t,
        pid,
        reader: field(readReader, 'Kernel code that read the private data of the buffer.'),
        device,
        inode,
        errno,
        reason,
        privacy,
        kvm_pid,
        comm,
      },
    },
  ],
  maps: [
    {
      name: 'private_reads',
      number: 15,
      key: ['reader'],
      holds: 'count',
      of: 'reads that gave data',
      feeds: {
        name: 'private_data_reads',
        type: 'counter',
        help: 'Lookups of the VFIO data of a buffer that succeeded (vfio_dma_buf_get_data).',
        details: ONLY_PRIVATE,
        labels: ['importer'],
        known: () => READERS.map((importer) => ({ importer })),
      },
    },
    {
      name: 'private_read_rejections',
      number: 16,
      key: ['reader', 'errno', 'reason'],
      holds: 'count',
      of: 'reads that were rejected',
      feeds: {
        name: 'private_data_read_rejections',
        type: 'counter',
        help: 'Lookups of the VFIO data of a buffer that the kernel rejected (vfio_dma_buf_get_data).',
        details: ONLY_PRIVATE,
        labels: ['importer', 'reason'],
      },
    },
  ],
  uses: [missedReturns],
} as const satisfies Declaration;
