import { type Entry, rule } from './entry.ts';

/** What user space shows, the tracer does not count, and its reasons explain: a VMM that never asked for a dma-buf. */
export const SYMPTOM_ENTRIES = {
  bar_by_address: {
    what: 'A VMM had iommufd map a BAR by its address in user space, which the kernel cannot do: memory of a device has no pages.',
    rules: [
      rule(
        'iommufd',
        'EFAULT',
        ['iommufd_ioas_map', 'drivers/iommu/iommufd/ioas.c'],
        'the pages of the range can be pinned: pin_user_pages() rejects what is mapped with VM_PFNMAP, as each BAR is',
        { kernels: 'each with iommufd', mainline: '6.2 or newer' },
      ),
      rule(
        'iommufd',
        'EFAULT',
        ['iommufd_vfio_map_dma', 'drivers/iommu/iommufd/vfio_compat.c'],
        'the same for VFIO_IOMMU_MAP_DMA where iommufd replaces the container. The container of type 1 can map a BAR',
        { kernels: 'each with iommufd', mainline: '6.2 or newer' },
      ),
    ],
    remedy:
      'The VMM has to export the BAR (VFIO_DEVICE_FEATURE_DMA_BUF) and map the buffer (IOMMU_IOAS_MAP_FILE): take a version of it ' +
      'that does, on a kernel with the export. Otherwise the VM runs without device-to-device DMA, or does not start: then turn ' +
      'that off (cloud-hypervisor: vfio_p2p_dma=off) or use the container (QEMU: no iommufd object). The same line of QEMU ' +
      'with Invalid argument in place of Bad address is another matter: the BAR lies beyond what the IOMMU can address.',
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
