import type { Declaration } from '../server/src/protocol/declaration.ts';
import { OF_THE_BUFFER } from './shared/importing.ts';

export const mapRoute = {
  probe: 'map_route',
  maps: [
    {
      name: 'mapping_routes',
      number: 25,
      key: ['device', 'privacy', 'name0', 'name1', 'route'],
      holds: 'count',
      of: 'mappings by the route of their requests',
      feeds: {
        name: 'mapping_routes',
        type: 'counter',
        help: 'Mappings by the route from the importer to the memory (dma_buf_phys_vec_to_sgt).',
        details:
          'bus: within one device or PCIe switch. host_bridge: through the root complex, with physical ' +
          'addresses. iommu: through the root complex, where the IOMMU translates. unknown: the DMA operations ' +
          `of the importing device hide it. ${OF_THE_BUFFER} iommufd maps physical ranges and has no route.`,
        labels: ['device', 'privacy', 'importer', 'route'],
      },
    },
  ],
} as const satisfies Declaration;
