import type { Declaration } from '../server/src/protocol/declaration.ts';
import { comm, device, importer, importer_device, inode, pid, t } from './shared/fields.ts';
import { OF_THE_BUFFER } from './shared/importing.ts';

export const unmap = {
  probe: 'unmap',
  records: [
    {
      name: 'unmap',
      tag: 15,
      event: true,
      fields: { t, pid, device, inode, importer, importer_device, comm },
    },
  ],
  maps: [
    {
      name: 'unmaps',
      number: 20,
      key: ['device', 'privacy', 'name0', 'name1'],
      holds: 'count',
      of: 'mappings that importers ended',
      feeds: {
        name: 'unmaps',
        type: 'counter',
        help: 'Mappings that importers ended (vfio_pci_dma_buf_unmap).',
        details: OF_THE_BUFFER,
        labels: ['device', 'privacy', 'importer'],
      },
    },
  ],
} as const satisfies Declaration;
