import type { Declaration } from '../server/src/protocol/declaration.ts';
import { comm, inode, pid, t } from './shared/fields.ts';

export const release = {
  probe: 'release',
  records: [{ name: 'release', tag: 3, event: true, fields: { t, pid, inode, comm } }],
  maps: [
    {
      name: 'releases',
      number: 5,
      key: [],
      holds: 'count',
      of: 'buffers freed',
      feeds: {
        name: 'releases',
        type: 'counter',
        help: 'Buffers whose last reference was dropped (dma_buf_file_release).',
        labels: [],
      },
    },
  ],
} as const satisfies Declaration;
