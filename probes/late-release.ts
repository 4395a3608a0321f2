import { type Declaration, field } from '../server/src/protocol/declaration.ts';
import { readFlag } from '../server/src/protocol/readers.ts';
import { comm, device, inode, pid, t } from './shared/fields.ts';
import { missedReturns } from './shared/missed-returns.ts';

export const lateRelease = {
  probe: 'late_release',
  records: [
    {
      name: 'late_release',
      tag: 24,
      event: true,
      fields: {
        t,
        pid,
        device,
        inode,
        done: field(readFlag, '1: VFIO has released the buffer. 0: only its file is released.'),
        comm,
      },
    },
  ],
  maps: [
    {
      name: 'late_releases',
      number: 35,
      key: ['device'],
      holds: 'count',
      of: 'files that were released while a descriptor with O_PATH, or a reader of /proc/PID/fd, held the buffer',
      feeds: {
        name: 'late_releases',
        type: 'counter',
        help: 'Buffers whose file was released before VFIO could release them (dma_buf_file_release).',
        details:
          'A descriptor with O_PATH, or for a moment a reader of /proc/PID/fd, held the path of the buffer. Until then a revocation or ' +
          'the close of the device reads freed memory. device is the exporting device.',
        labels: ['device'],
      },
    },
  ],
  uses: [missedReturns],
} as const satisfies Declaration;
