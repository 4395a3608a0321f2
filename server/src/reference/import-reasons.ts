import type { Reason } from '../stream/codes.ts';
import { CORE, type Entry, EXPORTER, IOMMUFD, KVM, PRIVATE, RDMA, rule } from './entry.ts';

const ATTACH = ['vfio_pci_dma_buf_attach', EXPORTER] as const;
const MAP = ['vfio_pci_dma_buf_map', EXPORTER] as const;
const IOMMUFD_MAP = ['vfio_pci_dma_buf_iommufd_map', EXPORTER] as const;
const MAP_ATTACHMENT = ['dma_buf_map_attachment', CORE] as const;
const PHYS = ['dma_buf_phys_vec_to_sgt', 'drivers/dma-buf/dma-buf-mapping.c'] as const;
const PRIME = ['drm_gem_prime_import_dev', 'drivers/gpu/drm/drm_prime.c'] as const;
const VIDEOBUF2 = 'drivers/media/common/videobuf2';

/** Why another device, iommufd or KVM did not get the memory. */
export const IMPORT_REASONS = {
  no_peer_to_peer: {
    what: 'The importer cannot take memory of a device: it attached statically or did not allow peer-to-peer.',
    rules: [
      rule(
        'attach',
        'EOPNOTSUPP',
        ATTACH,
        'attachment->peer2peer is set, which only dma_buf_dynamic_attach() with allow_peer2peer does; importers that ' +
          'call dma_buf_attach() (most DRM drivers, videobuf2, network devmem) never have it',
      ),
    ],
    remedy:
      'This importer can only take system memory: let it import from a dma-heap or udmabuf, or use one that is dynamic ' +
      'with peer-to-peer (mlx5 with on-demand paging, amdgpu, xe, iommufd).',
  },
  not_revocable: {
    what: 'The importer cannot give the memory back when the device is reset, so the exporter refused it.',
    rules: [
      rule(
        'attach',
        'EOPNOTSUPP',
        ATTACH,
        'dma_buf_attach_revocable(): the importer’s invalidate_mappings callback is set; pinned RDMA imports ' +
          '(ib_umem_dmabuf_get_pinned) have none',
        { since: '7.1' },
      ),
    ],
    remedy:
      'RDMA: register the memory with a driver and flags that use on-demand paging, or with one that can revoke. ' +
      'Others: a driver that sets invalidate_mappings is needed.',
  },
  revoked: {
    what: 'The buffer’s memory was taken away (reset, memory decode off, power state) and may not be mapped now.',
    rules: [
      rule('attach', 'ENODEV', ATTACH, 'priv->revoked is not set'),
      rule('map', 'ENODEV', MAP, 'priv->revoked is not set'),
      rule('iommufd', 'ENODEV', IOMMUFD_MAP, 'priv->revoked is not set'),
      rule(
        'bind',
        'ENODEV',
        ['kvm_vfio_dmabuf_bind', KVM],
        'dma_buf_dynamic_attach(), which it calls, succeeds; the posted exporters themselves refuse nobody there',
        { since: PRIVATE },
      ),
      rule('rdma', 'EINVAL', ['ib_umem_dmabuf_map_pages', RDMA], 'umem_dmabuf->revoked is not set', {
        since: '7.1',
      }),
    ],
    remedy:
      'Import after the guest has enabled memory decode: an export while it is off is born revoked. The event ' +
      'buffer_state before this one names the cause; a mapping that was lost has to be made again by the VMM.',
  },
  pin_refused: {
    what: 'The importer wanted the memory pinned in its place, which the exporter does not promise.',
    rules: [
      rule(
        'pin',
        'EOPNOTSUPP',
        ['vfio_pci_dma_buf_pin', EXPORTER],
        'none: every pin is refused, those of RDMA’s pinned regions (ib_umem_dmabuf_get_pinned) too. Later kernels refuse ' +
          'such an importer at attach (not_revocable)',
        { until: '7.0' },
      ),
      rule('pin', 'EINVAL', ['vfio_pci_dma_buf_pin', EXPORTER], 'none: every pin is refused', {
        since: PRIVATE,
      }),
    ],
    remedy: 'Use an importer that can move its mapping (mlx5: on-demand paging), or iommufd.',
  },
  multiple_ranges: {
    what: 'iommufd was given a buffer of several ranges; it can map exactly one.',
    rules: [rule('iommufd', 'EOPNOTSUPP', IOMMUFD_MAP, 'priv->nr_ranges is 1')],
    remedy: 'The VMM has to export each range as a buffer of its own and map them one by one.',
  },
  foreign_exporter: {
    what: 'iommufd was given a dma-buf that VFIO did not export.',
    rules: [rule('iommufd', 'EOPNOTSUPP', IOMMUFD_MAP, 'dmabuf->ops are VFIO’s own')],
    remedy:
      'Map system memory by its address or as a memfd. Memory of a GPU or another exporter cannot be mapped by iommufd ' +
      'yet.',
  },
  topology: {
    what: 'The two PCI devices cannot reach each other: no switch in common, and the way through the host is not allowed.',
    rules: [
      rule(
        'map',
        'EINVAL',
        PHYS,
        'pci_p2pdma_map_type() of the pair is a bus address or through an allowed host bridge; the verdict is cached ' +
          'for the pair, so the kernel’s log has its text only once',
      ),
    ],
    remedy:
      'Put both devices below one PCIe switch without ACS redirect, or use a host whose bridge the kernel allows ' +
      '(`journalctl -k | grep -i peer-to-peer` names the pair); `lspci -tv` shows the tree. An importer that is no PCI ' +
      'device cannot map at all.',
  },
  beyond_buffer: {
    what: 'The importer asked for more than the buffer has.',
    rules: [
      rule(
        'iommufd',
        'EINVAL',
        ['iopt_alloc_dmabuf_pages', IOMMUFD],
        'start + length is within dmabuf->size',
      ),
      rule(
        'rdma',
        'EINVAL',
        ['ib_umem_dmabuf_get_with_dma_device', RDMA],
        'offset + size is within dmabuf->size',
      ),
      rule(
        'videobuf2',
        'EINVAL',
        ['__prepare_dmabuf', `${VIDEOBUF2}/videobuf2-core.c`],
        'the length given, or else dmabuf->size, is at least what the format needs',
      ),
      rule(
        'videobuf2',
        'EFAULT',
        ['vb2_dc_attach_dmabuf', `${VIDEOBUF2}/videobuf2-dma-contig.c`],
        'dmabuf->size is at least the length given; the other memory kinds (dma-sg, vmalloc) check the same',
      ),
    ],
    remedy:
      'Compare the length of the import with the buffer’s bytes (/api/v1/buffers): the VMM or the application has to ask ' +
      'within it, or export more.',
  },
  not_dynamic: {
    what: 'The importer attached as a dynamic one without the callback that tells it of changes.',
    rules: [
      rule(
        'attach',
        'EINVAL',
        ['dma_buf_dynamic_attach', CORE],
        'importer_ops has a move_notify callback (the kernel also warns)',
        { until: '7.0' },
      ),
    ],
    remedy:
      'A defect of the importing driver. Report it to its maintainers; `journalctl -k` has the warning.',
  },
  no_cpu_mapping: {
    what: 'Something wanted to map the buffer for the processor, which VFIO’s buffers do not offer.',
    rules: [
      rule('vmap', 'EINVAL', ['dma_buf_vmap', CORE], 'the exporter has a vmap callback; VFIO’s has none'),
      rule(
        'vmap',
        'EINVAL',
        ['dma_buf_mmap', CORE],
        'the exporter has an mmap callback, and VFIO’s has none; an mmap() of the descriptor itself asks the same ' +
          '(dma_buf_mmap_internal)',
      ),
    ],
    remedy:
      'The importer copies by CPU (videobuf2-vmalloc, displays without DMA): it cannot work on device memory. Map the BAR ' +
      'through VFIO for access by CPU.',
  },
  interrupted: {
    what: 'A signal ended the importer’s wait for the buffer.',
    rules: [
      rule(
        'map',
        'ERESTARTSYS',
        MAP_ATTACHMENT,
        'the wait of a static importer for the buffer’s fences, which a signal may end, came to its end; an event has this ' +
          'errno, which is the kernel’s own, as 512',
      ),
      rule(
        'map',
        'EINTR',
        MAP_ATTACHMENT,
        'the same wait, where a fence that waits in its own way says EINTR',
      ),
    ],
    remedy:
      'Usually harmless: the caller tries again, or was being ended. Look for who sends the signal if it goes on.',
  },
  importer_unsupported: {
    what: 'The importing DRM driver cannot import dma-bufs, or not of this kind.',
    rules: [
      rule('prime', 'EINVAL', PRIME, 'the DRM driver has gem_prime_import_sg_table'),
      ...['EOPNOTSUPP', 'ENOSYS'].map((errno) =>
        rule(
          'prime',
          errno,
          ['drm_gem_prime_fd_to_handle', 'drivers/gpu/drm/drm_prime.c'],
          'the driver’s own gem_prime_import, where it has one, can take this buffer',
        ),
      ),
    ],
    remedy:
      'Use a device whose driver imports dma-bufs, or a newer driver; the event names importer and task.',
  },
  not_a_dmabuf: {
    what: 'The descriptor that KVM was given for a private memory slot is not that of a dma-buf.',
    rules: [
      rule(
        'bind',
        'EINVAL',
        ['dma_buf_get', CORE],
        'the descriptor is that of a dma-buf; one that is not open is EBADF, told as other',
        { since: PRIVATE },
      ),
    ],
    remedy:
      'The process named by the event passed the wrong descriptor: KVM needs the one that VFIO_DEVICE_FEATURE_DMA_BUF ' +
      'gave. Only KVM’s bind is told so. To other importers the probes cannot say that VFIO was meant, so none of theirs is ' +
      'counted; iommufd asks of each memfd of the guest whether it is a dma-buf.',
  },
} satisfies Partial<Record<Reason, Entry>>;
