import { type Entry, rule } from './entry.ts';

/** Failures that user space shows and the tracer cannot count, because the VMM never asked for a dma-buf. */
export const SYMPTOM_ENTRIES = {
  bar_by_address: {
    what: 'A VMM asked iommufd to map a BAR by its user-space address. The kernel cannot do this, because device memory has no pages.',
    rules: [
      rule(
        'iommufd',
        'EFAULT',
        ['iommufd_ioas_map', 'drivers/iommu/iommufd/ioas.c'],
        'the pages of the range can be pinned; pin_user_pages() rejects mappings with VM_PFNMAP, such as every BAR',
        { kernels: 'each with iommufd', mainline: '6.2 or newer' },
      ),
      rule(
        'iommufd',
        'EFAULT',
        ['iommufd_vfio_map_dma', 'drivers/iommu/iommufd/vfio_compat.c'],
        'the same for VFIO_IOMMU_MAP_DMA if iommufd replaces the container. A type 1 container can map a BAR',
        { kernels: 'each with iommufd', mainline: '6.2 or newer' },
      ),
    ],
    remedy:
      'The VMM has to export the BAR (VFIO_DEVICE_FEATURE_DMA_BUF) and map the buffer (IOMMU_IOAS_MAP_FILE): use a version ' +
      'that does, on a kernel with the export. Otherwise the VM runs without device-to-device DMA, or does not start. If it does ' +
      'not start, disable that DMA (cloud-hypervisor: vfio_p2p_dma=off) or use the container (QEMU: no iommufd object). The same ' +
      'line of QEMU with Invalid argument instead of Bad address has another cause: the IOMMU cannot address the BAR.',
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
} satisfies Record<string, Entry>;
