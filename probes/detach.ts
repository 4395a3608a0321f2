import type { Declaration } from '../server/src/protocol/declaration.ts';
import { comm, device, importer, importer_device, inode, pid, t } from './shared/fields.ts';
import { OF_THE_BUFFER } from './shared/importing.ts';

export const detach = {
  probe: 'detach',
  records: [
    {
      name: 'detach',
      tag: 5,
      event: true,
      fields: { t, pid, device, inode, importer, importer_device, comm },
    },
  ],
  maps: [
    {
      name: 'detaches',
      number: 14,
      key: ['device', 'privacy', 'name0', 'name1'],
      holds: 'count',
      of: 'attachments that importers ended',
      feeds: {
        name: 'detaches',
        type: 'counter',
        help: 'Attachments that importers ended (dma_buf_detach).',
        details: OF_THE_BUFFER,
        labels: ['device', 'privacy', 'importer'],
      },
    },
  ],
} as const satisfies Declaration;
