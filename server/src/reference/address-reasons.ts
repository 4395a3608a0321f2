import type { Reason } from '../protocol/codes.ts';
import { type Entry, type Rule, rule } from './entry.ts';

const WITH_IOMMUFD = { kernels: 'every kernel with iommufd', mainline: '6.2 or newer' };

/** The two calls that map by address, both through iopt_map_user_pages(). */
function rules(check: string): Rule[] {
  return [
    rule(
      'ioas_map',
      'EFAULT',
      ['iommufd_ioas_map', 'drivers/iommu/iommufd/ioas.c'],
      `IOMMU_IOAS_MAP: ${check}`,
      WITH_IOMMUFD,
    ),
    rule(
      'ioas_map',
      'EFAULT',
      ['iommufd_vfio_map_dma', 'drivers/iommu/iommufd/vfio_compat.c'],
      `VFIO_IOMMU_MAP_DMA, if iommufd replaces the container: ${check}. A type 1 container can map a BAR`,
      WITH_IOMMUFD,
    ),
  ];
}

/** Why iommufd could not map memory by its user-space address. */
export const ADDRESS_REASONS = {
  bar_by_address: {
    what: 'A VMM asked iommufd to map a BAR by its user-space address. The kernel cannot do this, because device memory has no pages.',
    rules: rules(
      'the pages of the range can be pinned; pin_user_pages() rejects mappings with VM_PFNMAP, such as every BAR',
    ),
    remedy:
      'The VMM has to export the BAR (VFIO_DEVICE_FEATURE_DMA_BUF) and map the buffer (IOMMU_IOAS_MAP_FILE): use a version ' +
      'that does, on a kernel with the export (docs/importers.md has a table of VMMs). Otherwise the VM runs without ' +
      'device-to-device DMA, or does not start. If it does not start, disable that DMA (cloud-hypervisor: vfio_p2p_dma=off) ' +
      'or use the container (QEMU: no iommufd object). The same line of QEMU with Invalid argument instead of Bad address ' +
      'has another cause: the IOMMU cannot address the BAR.',
    user_space: [
      'IOMMU_IOAS_MAP failed: Bad address, PCI BAR?',
      'PCI peer-to-peer transactions on BARs are not supported',
      'vfio_container_dma_map',
      'Failed to map VFIO MMIO region',
      'failed to map an IOVA range to the IOAS: Bad address',
      'vfio_p2p_dma',
      'IOMMU_IOAS_MAP',
    ],
  },
  bad_address: {
    what: 'A process asked iommufd to map a user-space address that has no memory, or none that the kernel can pin.',
    rules: rules(
      'the range is mapped, writable if the IOMMU may write, and can be pinned. The first address is not in a BAR of a VFIO device',
    ),
    remedy:
      'A defect of the VMM, or memory of another driver without pages: `/proc/PID/maps` of the process has its mappings. ' +
      'Report it with the version of the VMM.',
    user_space: ['IOMMU_IOAS_MAP'],
  },
} satisfies Partial<Record<Reason, Entry>>;
