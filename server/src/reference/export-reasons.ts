import type { Reason } from '../protocol/codes.ts';
import { type Entry, EXPORTER, PRIVATE, rule, type Where } from './entry.ts';

const FEATURE = ['vfio_pci_core_feature_dma_buf', EXPORTER] as const;
const VALIDATE = ['validate_dmabuf_input', EXPORTER] as const;
/** Kernels whose export needs a kernel mapping of the BAR: mapped at the export (7.1), or when the device is opened. */
const WITH_BARMAP: Where = {
  kernels: 'kernels whose export calls vfio_pci_core_setup_barmap',
  mainline: '7.1',
};
const WITH_IOMAP: Where = { kernels: 'kernels with vfio_pci_core_map_bars', mainline: '7.2 or newer' };
const SETUP_BARMAP = ['vfio_pci_core_setup_barmap', 'drivers/vfio/pci/vfio_pci_rdwr.c'] as const;
const MAP_BARS = ['vfio_pci_core_map_bars', 'drivers/vfio/pci/vfio_pci_core.c'] as const;
/** QEMU prints this once in its lifetime, at the first failed export. */
const QEMU_FALLBACK = 'dma-buf unavailable, using mmap fallback, P2P DMA will not work';
const PROVIDER = ['pcim_p2pdma_provider', 'drivers/pci/p2pdma.c'] as const;

/** Why VFIO_DEVICE_FEATURE_DMA_BUF returned no descriptor: an error of the VMM, or a device that cannot be exported. */
export const EXPORT_REASONS = {
  no_ranges: {
    what: 'The export contains no range of the BAR.',
    rules: [rule('export', 'EINVAL', FEATURE, 'nr_ranges of the argument is not 0')],
    remedy: 'A defect of the VMM: it has to pass at least one range. Report it with the version of the VMM.',
  },
  unknown_flags: {
    what: 'The export set flags that the kernel does not know.',
    rules: [rule('export', 'EINVAL', FEATURE, 'flags of the argument is 0; no kernel defines a flag yet')],
    remedy:
      'The VMM is newer than the kernel, or has a defect: it has to set flags to 0. Update the kernel or the VMM.',
  },
  unaligned: {
    what: 'A range of the export does not begin or end at a page boundary.',
    rules: [
      rule('export', 'EINVAL', VALIDATE, 'offset and length of each range are multiples of the page size'),
    ],
    remedy:
      'The VMM has to round its ranges to pages. A BAR smaller than a page cannot be exported: let the firmware or ' +
      '`pci=resource_alignment=` give it a separate page. Harmless if no importer needs that BAR.',
    user_space: [QEMU_FALLBACK],
  },
  empty_range: {
    what: 'A range of the export has no length.',
    rules: [rule('export', 'EINVAL', VALIDATE, 'the length of each range is not 0')],
    remedy: 'A defect of the VMM: it has to omit empty ranges. Report it with the version of the VMM.',
  },
  beyond_bar: {
    what: 'A range of the export ends beyond the end of the BAR.',
    rules: [
      rule(
        'export',
        'EINVAL',
        ['vfio_pci_core_fill_phys_vec', EXPORTER],
        'offset + length of each range is within pci_resource_len() of the BAR. nvgrace-gpu compares regions 2 and 4 with the ' +
          'size of its memory instead (mem_region->memlength), which the probe does not know',
      ),
    ],
    remedy:
      'Compare the range with the size of the BAR in `lspci -vv -s DEVICE`. If the BAR was resized after the VMM read its ' +
      'size, restart the VM.',
    user_space: [QEMU_FALLBACK],
  },
  not_mappable_bar: {
    what: 'The BAR is not memory that another device can access.',
    rules: [
      rule('export', 'EINVAL', PROVIDER, 'the BAR is memory (IORESOURCE_MEM)'),
      rule(
        'export',
        'ENODEV',
        MAP_BARS,
        'the device is not marked with non_mappable_bars; other kernels return EINVAL from pcim_p2pdma_provider',
        WITH_IOMAP,
      ),
    ],
    remedy:
      'I/O port BARs cannot be exported: the VMM has to omit this BAR. Memory BARs of a marked device (ISM of s390) cannot ' +
      'be exported either: import from that device is not possible.',
    user_space: [QEMU_FALLBACK],
  },
  bar_unavailable: {
    what: 'The kernel could not claim or map the BAR.',
    rules: [
      rule(
        'export',
        'ENODEV',
        MAP_BARS,
        'when the device was opened, no other driver had claimed the BAR (EBUSY) and the kernel could map it (ENOMEM). The export returns ENODEV for both',
        WITH_IOMAP,
      ),
      rule('export', 'ENODEV', SETUP_BARMAP, 'the same, checked at the export', WITH_BARMAP),
    ],
    remedy:
      'Find what has claimed the BAR in `/proc/iomem` (a firmware framebuffer, another driver), free the BAR, and restart the VM: ' +
      'newer kernels claim the BAR only when the device is opened.',
    user_space: [QEMU_FALLBACK],
  },
  bad_argument: {
    what: 'The header of the export is malformed: too short, or not a request to get the feature.',
    rules: [
      rule(
        'export',
        'EINVAL',
        ['vfio_check_feature', 'include/linux/vfio.h'],
        'flags request only GET, and argsz covers the complete struct vfio_device_feature_dma_buf',
      ),
    ],
    remedy: 'The VMM was built with headers of another kernel, or has a defect. Update the VMM.',
  },
  bad_pointer: {
    what: 'The kernel could not read the argument of the export from the memory of the process.',
    rules: [rule('export', 'EFAULT', FEATURE, 'copy_from_user() of the header and of the ranges succeeds')],
    remedy:
      'A defect of the VMM: the ranges must follow the header in mapped memory. Report it with the version of the VMM.',
  },
  bad_region: {
    what: 'The export named a region that is not a BAR, or a BAR that the device does not have.',
    rules: [
      rule(
        'export',
        'ENODEV',
        FEATURE,
        'region_index is 0 to 5 (below VFIO_PCI_ROM_REGION_INDEX), and that BAR has a length',
      ),
      rule(
        'export',
        'EINVAL',
        ['check_dma_ranges', EXPORTER],
        'region_index of each range is 0 to 5 (below VFIO_PCI_ROM_REGION_INDEX)',
        PRIVATE,
      ),
    ],
    remedy:
      'A defect of the VMM: it must only export BARs that `lspci -vv -s DEVICE` lists as regions 0 to 5. ROM, VGA and config ' +
      'space cannot be exported.',
    user_space: [QEMU_FALLBACK],
  },
  device_closing: {
    what: 'The device was being closed or unbound while it was exported.',
    rules: [
      rule(
        'export',
        'ENODEV',
        FEATURE,
        'vfio_device_try_get_registration() finds the device still registered',
      ),
    ],
    remedy:
      'Nothing, if the device was meant to be removed. Otherwise find what unbound its driver (`journalctl -k`).',
  },
  driver_unsupported: {
    what: 'The VFIO driver of this device cannot export its memory.',
    rules: [
      rule(
        'export',
        'EOPNOTSUPP',
        FEATURE,
        'the driver has a get_dmabuf_phys callback. In mainline, vfio-pci and nvgrace_gpu_vfio_pci have one; the other ' +
          'variant drivers (mlx5, virtio, pds, qat, hisi, xe) do not. A distribution may differ',
      ),
    ],
    remedy:
      'Bind the device to vfio-pci instead of its variant driver (this disables migration), or ask the maintainers of the ' +
      'driver for the callback.',
    user_space: [QEMU_FALLBACK],
  },
  fd_limit: {
    what: 'The exporting process or the host has no free file descriptor.',
    rules: [
      rule(
        'export',
        'EMFILE',
        ['dma_buf_fd', 'drivers/dma-buf/dma-buf.c'],
        'the process is below RLIMIT_NOFILE',
      ),
      rule(
        'export',
        'ENFILE',
        ['dma_buf_export', 'drivers/dma-buf/dma-buf.c'],
        'the host is below fs.file-max',
      ),
    ],
    remedy:
      'Raise LimitNOFILE of the unit of the VMM (libvirt: max_files in qemu.conf), or fs.file-max. Then check for a leak with ' +
      '`ls /proc/PID/fd | wc -l`.',
    user_space: ['Too many open files'],
  },
  overflow: {
    what: 'A range of the export does not fit into the address space.',
    rules: [
      rule(
        'export',
        'EOVERFLOW',
        ['vfio_pci_core_fill_phys_vec', EXPORTER],
        'start of the BAR + offset + length does not wrap around',
      ),
    ],
    remedy: 'A defect of the VMM: offset or length is invalid. Report it with the version of the VMM.',
  },
} satisfies Partial<Record<Reason, Entry>>;
