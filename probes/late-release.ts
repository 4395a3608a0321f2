import { type Declaration, field } from '../server/src/protocol/declaration.ts';
import { readFlag } from '../server/src/protocol/readers.ts';
import { comm, device, inode, pid, t } from './shared/fields.ts';

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
        done: field(
          readFlag,
          'Whether the release of VFIO has run. 0 is the release of the file, which leaves the buffer to VFIO.',
        ),
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
      of: 'files that were released while a descriptor with O_PATH held the buffer',
      feeds: {
        name: 'late_releases',
        type: 'counter',
        help: 'Buffers whose file was released before VFIO could release them (dma_buf_file_release).',
        details:
          'A descriptor that was opened with O_PATH held the path of the buffer. Until it is closed, a revocation or ' +
          'the close of the device reads freed memory. device is the exporting device.',
        labels: ['device'],
      },
    },
  ],
} as const satisfies Declaration;
