import type { Reason } from '../stream/codes.ts';
import { type Entry, EXPORTER, PRIVATE, rule, type Where } from './entry.ts';

const FEATURE = ['vfio_pci_core_feature_dma_buf', EXPORTER] as const;
const VALIDATE = ['validate_dmabuf_input', EXPORTER] as const;
/** Both make the kernel's mapping of the BAR, which an export has to have. */
const WITH_BARMAP: Where = {
  kernels: 'those whose export calls vfio_pci_core_setup_barmap',
  mainline: '7.1',
};
const WITH_IOMAP: Where = { kernels: 'those with vfio_pci_core_map_bars', mainline: '7.2 or newer' };
const SETUP_BARMAP = ['vfio_pci_core_setup_barmap', 'drivers/vfio/pci/vfio_pci_rdwr.c'] as const;
const MAP_BARS = ['vfio_pci_core_map_bars', 'drivers/vfio/pci/vfio_pci_core.c'] as const;
/** Each export that fails makes QEMU say this, once for the whole process. */
const QEMU_FALLBACK = 'dma-buf unavailable, using mmap fallback, P2P DMA will not work';
const PROVIDER = ['pcim_p2pdma_provider', 'drivers/pci/p2pdma.c'] as const;

/** Why VFIO_DEVICE_FEATURE_DMA_BUF gave no descriptor: mistakes of the VMM, or a device that cannot be exported. */
export const EXPORT_REASONS = {
  no_ranges: {
    what: 'The export named no range of the BAR at all.',
    rules: [rule('export', 'EINVAL', FEATURE, 'nr_ranges of the argument is 0')],
    remedy: 'A defect of the VMM: it has to give at least one range. Report it with the VMM’s version.',
  },
  unknown_flags: {
    what: 'The export set flags that the kernel does not know.',
    rules: [rule('export', 'EINVAL', FEATURE, 'flags of the argument is not 0; no kernel defines one yet')],
    remedy:
      'The VMM is newer than the kernel, or wrong: it has to leave flags 0. Update the kernel or the VMM.',
  },
  unaligned: {
    what: 'A range of the export does not begin or end at a page.',
    rules: [
      rule('export', 'EINVAL', VALIDATE, 'offset and length of each range are multiples of the page size'),
    ],
    remedy:
      'The VMM has to round its ranges to pages. A BAR smaller than a page cannot be exported: let the firmware or ' +
      '`pci=resource_alignment=` give it a page of its own. Harmless where nothing wants to reach that BAR.',
    user_space: [QEMU_FALLBACK],
  },
  empty_range: {
    what: 'A range of the export has no length.',
    rules: [rule('export', 'EINVAL', VALIDATE, 'the length of each range is not 0')],
    remedy: 'A defect of the VMM: it has to leave empty ranges out. Report it with the VMM’s version.',
  },
  beyond_bar: {
    what: 'A range of the export ends behind the end of the BAR.',
    rules: [
      rule(
        'export',
        'EINVAL',
        ['vfio_pci_core_fill_phys_vec', EXPORTER],
        'offset + length of each range is within pci_resource_len() of the BAR; nvgrace-gpu compares regions 2 and 4 with its ' +
          'memory instead (mem_region->memlength), which the probe does not know',
      ),
    ],
    remedy:
      'Compare the range with the BAR’s size in `lspci -vv -s DEVICE`. A BAR that was resized since the VMM asked for ' +
      'its size needs a restart of the VM.',
    user_space: [QEMU_FALLBACK],
  },
  not_mappable_bar: {
    what: 'The BAR is not memory that another device could reach.',
    rules: [
      rule('export', 'EINVAL', PROVIDER, 'the BAR is memory (IORESOURCE_MEM)'),
      rule(
        'export',
        'ENODEV',
        MAP_BARS,
        'the device is not marked with non_mappable_bars; other kernels answer EINVAL from pcim_p2pdma_provider',
        WITH_IOMAP,
      ),
    ],
    remedy:
      'I/O port BARs cannot be exported: the VMM has to leave this one out. Memory BARs of a marked device (s390’s ISM) ' +
      'never can; import from that device is not possible.',
    user_space: [QEMU_FALLBACK],
  },
  bar_unavailable: {
    what: 'The kernel could not claim or map the BAR.',
    rules: [
      rule(
        'export',
        'ENODEV',
        MAP_BARS,
        'at the open of the device no other driver held the BAR (EBUSY) and the kernel could map it (ENOMEM); each is ENODEV at the export',
        WITH_IOMAP,
      ),
      rule('export', 'ENODEV', SETUP_BARMAP, 'the same, tried at the export', WITH_BARMAP),
    ],
    remedy:
      'Look in `/proc/iomem` for who holds the BAR (a framebuffer of the firmware, another driver), free it, and restart the VM: ' +
      'newer kernels claim the BAR only when the device is opened.',
    user_space: [QEMU_FALLBACK],
  },
  bad_argument: {
    what: 'The export’s header is malformed: too short, or not a request to get the feature.',
    rules: [
      rule(
        'export',
        'EINVAL',
        ['vfio_check_feature', 'include/linux/vfio.h'],
        'flags ask for GET and nothing else, and argsz holds the whole struct vfio_device_feature_dma_buf',
      ),
    ],
    remedy: 'The VMM was built with other headers than this kernel’s, or is wrong. Update the VMM.',
  },
  bad_pointer: {
    what: 'The kernel could not read the export’s argument from the memory of the process.',
    rules: [rule('export', 'EFAULT', FEATURE, 'copy_from_user() of the header and of the ranges succeeds')],
    remedy:
      'A defect of the VMM: the ranges must follow the header in mapped memory. Report it with the ' +
      'VMM’s version.',
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
      'A defect of the VMM: it has to export BARs that `lspci -vv -s DEVICE` lists as regions 0 to 5. ROM, VGA and config ' +
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
    remedy: 'Nothing where the device was meant to go; else find what unbound its driver (`journalctl -k`).',
  },
  driver_unsupported: {
    what: 'The VFIO driver of this device cannot export its memory.',
    rules: [
      rule(
        'export',
        'EOPNOTSUPP',
        FEATURE,
        'the driver has a get_dmabuf_phys callback: in mainline vfio-pci and nvgrace_gpu_vfio_pci have one, the other ' +
          'variant drivers (mlx5, virtio, pds, qat, hisi, xe) have none; a distribution may differ',
      ),
    ],
    remedy:
      'Bind the device to vfio-pci in place of its variant driver (migration is lost with it), or ask the driver’s ' +
      'maintainers for the callback.',
    user_space: [QEMU_FALLBACK],
  },
  fd_limit: {
    what: 'The exporting process, or the host, has no file descriptor left.',
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
      'Raise LimitNOFILE of the VMM’s unit (libvirt: max_files in qemu.conf), or fs.file-max; then look for a leak with ' +
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
    remedy: 'A defect of the VMM: offset or length is garbage. Report it with the VMM’s version.',
  },
} satisfies Partial<Record<Reason, Entry>>;
