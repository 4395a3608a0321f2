import type { Reason } from '../stream/codes.ts';
import { CORE, type Entry, EXPORTER, IOMMUFD, KVM, PRIVATE, RDMA, rule, type Where } from './entry.ts';

const ATTACH = ['vfio_pci_dma_buf_attach', EXPORTER] as const;
const MAP = ['vfio_pci_dma_buf_map', EXPORTER] as const;
const IOMMUFD_MAP = ['vfio_pci_dma_buf_iommufd_map', EXPORTER] as const;
const MAP_ATTACHMENT = ['dma_buf_map_attachment', CORE] as const;
const PHYS = ['dma_buf_phys_vec_to_sgt', 'drivers/dma-buf/dma-buf-mapping.c'] as const;
const PRIME = ['drm_gem_prime_import_dev', 'drivers/gpu/drm/drm_prime.c'] as const;
const VIDEOBUF2 = 'drivers/media/common/videobuf2';

const WITH_PIN: Where = { kernels: 'those with vfio_pci_dma_buf_pin', mainline: '6.19 to 7.0' };
const WITH_REVOCABLE: Where = { kernels: 'those with dma_buf_attach_revocable', mainline: '7.1 or newer' };
/** What user space calls to have an importer take a buffer. */
const RDMA_CALLS = ['ibv_reg_dmabuf_mr', 'mlx5dv_reg_dmabuf_mr'] as const;
const PRIME_CALLS = ['DRM_IOCTL_PRIME_FD_TO_HANDLE', 'drmPrimeFDToHandle'] as const;
const IOMMUFD_CALL = 'IOMMU_IOAS_MAP_FILE';
const VIDEO_CALL = 'VIDIOC_QBUF';

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
      'with peer-to-peer (mlx5 without Data Direct, amdgpu, xe, iommufd).',
    user_space: [...PRIME_CALLS, VIDEO_CALL],
  },
  not_revocable: {
    what: 'The importer cannot give the memory back when the device is reset, so the exporter rejected it.',
    rules: [
      rule(
        'attach',
        'EOPNOTSUPP',
        ATTACH,
        'dma_buf_attach_revocable(): the importer’s invalidate_mappings callback is set; pinned RDMA imports ' +
          '(ib_umem_dmabuf_get_pinned) have none: those of mlx5 with Data Direct, and all of mana, bnxt_re and efa',
        WITH_REVOCABLE,
      ),
    ],
    remedy:
      'RDMA with mlx5: do without Data Direct (NCCL_IB_DATA_DIRECT=0, or leave out MLX5DV_REG_DMABUF_ACCESS_DATA_DIRECT). A plain ' +
      'registration of a dma-buf is dynamic; on-demand paging is not the way, for Data Direct rejects it. With mana, bnxt_re or ' +
      'efa no setting helps: use another adapter. Other importers: a driver that sets invalidate_mappings is needed.',
    user_space: [
      'Call to ibv_reg_dmabuf_mr failed with error Operation not supported',
      'NCCL_IB_DATA_DIRECT',
      'Data Direct DMA Interface is detected',
      'MLX5DV_REG_DMABUF_ACCESS_DATA_DIRECT',
      ...RDMA_CALLS,
    ],
  },
  revoked: {
    what: 'The memory of the buffer is revoked (reset, memory decode off, power state) and cannot be mapped now.',
    rules: [
      rule('attach', 'ENODEV', ATTACH, 'priv->revoked is not set'),
      rule('map', 'ENODEV', MAP, 'priv->revoked is not set'),
      rule('iommufd', 'ENODEV', IOMMUFD_MAP, 'priv->revoked is not set'),
      rule(
        'bind',
        'ENODEV',
        ['kvm_vfio_dmabuf_bind', KVM],
        'dma_buf_dynamic_attach(), which it calls, succeeds; the posted exporters themselves reject nobody there',
        PRIVATE,
      ),
      rule('rdma', 'EINVAL', ['ib_umem_dmabuf_map_pages', RDMA], 'umem_dmabuf->revoked is not set', {
        kernels: 'those with ib_umem_dmabuf.revoked',
        mainline: '7.1 or newer',
      }),
    ],
    remedy:
      'Import after the guest has enabled memory decode: an export while it is off is born revoked. The event ' +
      'buffer_state before this one names the cause; the VMM must remap a lost mapping.',
    user_space: [IOMMUFD_CALL, ...RDMA_CALLS],
  },
  pin_rejected: {
    what: 'The importer wanted the memory pinned in its place, which the exporter does not promise.',
    rules: [
      rule(
        'pin',
        'EOPNOTSUPP',
        ['vfio_pci_dma_buf_pin', EXPORTER],
        'none: every pin is rejected, those of RDMA’s pinned regions (ib_umem_dmabuf_get_pinned) too. Kernels with ' +
          'dma_buf_attach_revocable reject such an importer at attach (not_revocable)',
        WITH_PIN,
      ),
      rule('pin', 'EINVAL', ['vfio_pci_dma_buf_pin', EXPORTER], 'none: every pin is rejected', PRIVATE),
    ],
    remedy:
      'Use an importer that can move its mapping (mlx5 without Data Direct: NCCL_IB_DATA_DIRECT=0), or iommufd.',
    user_space: ['NCCL_IB_DATA_DIRECT', ...RDMA_CALLS],
  },
  multiple_ranges: {
    what: 'iommufd was given a buffer of several ranges; it can map exactly one.',
    rules: [rule('iommufd', 'EOPNOTSUPP', IOMMUFD_MAP, 'priv->nr_ranges is 1')],
    remedy: 'The VMM has to export each range as a buffer of its own and map them one by one.',
    user_space: [IOMMUFD_CALL],
  },
  foreign_exporter: {
    what: 'iommufd was given a dma-buf that VFIO did not export.',
    rules: [rule('iommufd', 'EOPNOTSUPP', IOMMUFD_MAP, 'dmabuf->ops are VFIO’s own')],
    remedy:
      'Map system memory by its address or as a memfd. Memory of a GPU or another exporter cannot be mapped by iommufd ' +
      'yet.',
    user_space: [IOMMUFD_CALL],
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
    user_space: [...RDMA_CALLS, ...PRIME_CALLS],
  },
  beyond_buffer: {
    what: 'The importer asked for more than the buffer has.',
    rules: [
      rule(
        'iommufd',
        'EINVAL',
        ['iopt_alloc_dmabuf_pages', IOMMUFD],
        'start + length is within dmabuf->size. The same errno for a length of MAX_NPFNS pages or more is counted as other',
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
    user_space: [IOMMUFD_CALL, VIDEO_CALL, ...RDMA_CALLS],
  },
  not_dynamic: {
    what: 'The importer attached as a dynamic one without the callback for changes of the buffer.',
    rules: [
      rule(
        'attach',
        'EINVAL',
        ['dma_buf_dynamic_attach', CORE],
        'importer_ops has a move_notify callback (the kernel also warns)',
        { kernels: 'those with dma_buf_attach_ops.move_notify', mainline: '6.19 to 7.0' },
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
    user_space: PRIME_CALLS,
  },
  not_a_dmabuf: {
    what: 'The descriptor that KVM was given is not that of a dma-buf, or is not open.',
    rules: [
      rule('bind', 'EINVAL', ['dma_buf_get', CORE], 'the descriptor is that of a dma-buf', PRIVATE),
      rule('bind', 'EBADF', ['dma_buf_get', CORE], 'the descriptor is open', PRIVATE),
    ],
    remedy:
      'The process named by the event passed the wrong descriptor: KVM needs the one that VFIO_DEVICE_FEATURE_DMA_BUF ' +
      'gave. Only KVM’s bind is told so. To other importers the probes cannot say that VFIO was meant, so none of theirs is ' +
      'counted; iommufd asks of each memfd of the guest whether it is a dma-buf.',
  },
} satisfies Partial<Record<Reason, Entry>>;
