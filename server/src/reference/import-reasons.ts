import type { Reason } from '../protocol/codes.ts';
import { CORE, type Entry, EXPORTER, IOMMUFD, KVM, PRIVATE, RDMA, rule, type Where } from './entry.ts';

const GET_PFN = ['vfio_pci_dma_buf_get_pfn', EXPORTER] as const;
const ATTACH = ['vfio_pci_dma_buf_attach', EXPORTER] as const;
const MAP = ['vfio_pci_dma_buf_map', EXPORTER] as const;
const IOMMUFD_MAP = ['vfio_pci_dma_buf_iommufd_map', EXPORTER] as const;
const MAP_ATTACHMENT = ['dma_buf_map_attachment', CORE] as const;
const PHYS = ['dma_buf_phys_vec_to_sgt', 'drivers/dma-buf/dma-buf-mapping.c'] as const;
const PRIME = ['drm_gem_prime_import_dev', 'drivers/gpu/drm/drm_prime.c'] as const;
const VIDEOBUF2 = 'drivers/media/common/videobuf2';

const WITH_PIN: Where = { kernels: 'kernels with vfio_pci_dma_buf_pin', mainline: '6.19 to 7.0' };
const WITH_REVOCABLE: Where = { kernels: 'kernels with dma_buf_attach_revocable', mainline: '7.1 or newer' };
/** Calls of user space that make an importer import a buffer. */
const RDMA_CALLS = ['ibv_reg_dmabuf_mr', 'mlx5dv_reg_dmabuf_mr'] as const;
const PRIME_CALLS = ['DRM_IOCTL_PRIME_FD_TO_HANDLE', 'drmPrimeFDToHandle'] as const;
const IOMMUFD_CALL = 'IOMMU_IOAS_MAP_FILE';
const VIDEO_CALL = 'VIDIOC_QBUF';

/** Why another device, iommufd or KVM could not import the memory. */
export const IMPORT_REASONS = {
  no_peer_to_peer: {
    what: 'The importer cannot use memory of a device: it attached statically or did not allow peer-to-peer.',
    rules: [
      rule(
        'attach',
        'EOPNOTSUPP',
        ATTACH,
        'attachment->peer2peer is set. Only dma_buf_dynamic_attach() with allow_peer2peer sets it, so importers that call ' +
          'dma_buf_attach() (most DRM drivers, videobuf2, network devmem) never have it',
      ),
    ],
    remedy:
      'This importer can only import system memory: give it a buffer of a dma-heap or udmabuf. Or use an importer that is ' +
      'dynamic with peer-to-peer (mlx5 without Data Direct, amdgpu, xe, iommufd).',
    user_space: [...PRIME_CALLS, VIDEO_CALL],
  },
  not_revocable: {
    what: 'The importer cannot release the memory when it is revoked, so the exporter rejected the attach.',
    rules: [
      rule(
        'attach',
        'EOPNOTSUPP',
        ATTACH,
        'dma_buf_attach_revocable(): the invalidate_mappings callback of the importer is set. Pinned RDMA imports ' +
          '(ib_umem_dmabuf_get_pinned) have none: those of mlx5 with Data Direct, and all of mana, bnxt_re and efa',
        WITH_REVOCABLE,
      ),
    ],
    remedy:
      'RDMA with mlx5: disable Data Direct (NCCL_IB_DATA_DIRECT=0, or omit MLX5DV_REG_DMABUF_ACCESS_DATA_DIRECT). A plain ' +
      'registration of a dma-buf is dynamic. On-demand paging does not help, because Data Direct rejects it. With mana, bnxt_re or ' +
      'efa no setting helps: use another adapter. Other importers need a driver that sets invalidate_mappings.',
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
        'its call of dma_buf_dynamic_attach() succeeds. The exporters of the posted patches do not reject that call',
        PRIVATE,
      ),
      rule('get_pfn', 'EIO', GET_PFN, 'priv->revoked is not set. KVM turns ENODEV into EIO', PRIVATE),
      rule('rdma', 'EINVAL', ['ib_umem_dmabuf_map_pages', RDMA], 'umem_dmabuf->revoked is not set', {
        kernels: 'kernels with ib_umem_dmabuf.revoked',
        mainline: '7.1 or newer',
      }),
    ],
    remedy:
      'Import after the guest has enabled memory decode: a buffer exported while it is off is born revoked. The previous ' +
      'buffer_state event names the cause. The VMM must remap a lost mapping. At get_pfn a guest touched the revoked memory: ' +
      'the VMM has to restore the memory before it runs the vCPU again.',
    user_space: [IOMMUFD_CALL, ...RDMA_CALLS],
  },
  pin_rejected: {
    what: 'The importer wanted to pin the memory, which the exporter does not support.',
    rules: [
      rule(
        'pin',
        'EOPNOTSUPP',
        ['vfio_pci_dma_buf_pin', EXPORTER],
        'none: every pin is rejected, also for pinned RDMA regions (ib_umem_dmabuf_get_pinned). Kernels with ' +
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
    what: 'iommufd got a buffer of several ranges, but it can map only a buffer of one range.',
    rules: [rule('iommufd', 'EOPNOTSUPP', IOMMUFD_MAP, 'priv->nr_ranges is 1')],
    remedy: 'The VMM has to export each range as a separate buffer and map the buffers one by one.',
    user_space: [IOMMUFD_CALL],
  },
  foreign_exporter: {
    what: 'iommufd got a dma-buf that VFIO did not export.',
    rules: [rule('iommufd', 'EOPNOTSUPP', IOMMUFD_MAP, 'dmabuf->ops are VFIO’s own')],
    remedy:
      'Map system memory by its address or as a memfd. Memory of a GPU or another exporter cannot be mapped by iommufd ' +
      'yet.',
    user_space: [IOMMUFD_CALL],
  },
  topology: {
    what: 'The two PCI devices cannot reach each other: they share no switch, and the path through the host bridge is not allowed.',
    rules: [
      rule(
        'map',
        'EINVAL',
        PHYS,
        'pci_p2pdma_map_type() of the pair is a bus address or an allowed host bridge. The kernel caches the result for the ' +
          'pair, so it logs its message only once',
      ),
    ],
    remedy:
      'Put both devices below one PCIe switch without ACS redirect, or use a host whose bridge the kernel allows ' +
      '(`journalctl -k | grep -i peer-to-peer` names the pair); `lspci -tv` shows the tree. An importer that is not a PCI ' +
      'device cannot map at all.',
    user_space: [...RDMA_CALLS, ...PRIME_CALLS],
  },
  beyond_buffer: {
    what: 'The importer asked for more bytes than the buffer has.',
    rules: [
      rule(
        'get_pfn',
        'EIO',
        GET_PFN,
        'the page of the fault is within dmabuf->size. KVM turns EINVAL into EIO',
        PRIVATE,
      ),
      rule(
        'iommufd',
        'EINVAL',
        ['iopt_alloc_dmabuf_pages', IOMMUFD],
        'start + length is within dmabuf->size. A length of MAX_NPFNS pages or more has the same errno, but the reason other',
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
        'the given length, or dmabuf->size if none is given, is at least what the format needs',
      ),
      rule(
        'videobuf2',
        'EFAULT',
        ['vb2_dc_attach_dmabuf', `${VIDEOBUF2}/videobuf2-dma-contig.c`],
        'dmabuf->size is at least the given length; the other memory kinds (dma-sg, vmalloc) check the same',
      ),
    ],
    remedy:
      'Compare the length of the import with the bytes of the buffer (/api/v1/buffers). The application has to import less, or ' +
      'the VMM has to export more.',
    user_space: [IOMMUFD_CALL, VIDEO_CALL, ...RDMA_CALLS],
  },
  not_dynamic: {
    what: 'The importer attached dynamically, but without the callback for moves of the buffer.',
    rules: [
      rule(
        'attach',
        'EINVAL',
        ['dma_buf_dynamic_attach', CORE],
        'importer_ops has a move_notify callback (the kernel also warns)',
        { kernels: 'kernels with dma_buf_attach_ops.move_notify', mainline: '6.19 to 7.0' },
      ),
    ],
    remedy:
      'A defect of the importing driver. Report it to its maintainers. `journalctl -k` has the warning.',
  },
  no_cpu_mapping: {
    what: 'A driver or process wanted to map the buffer for the CPU, which VFIO buffers do not support.',
    rules: [
      rule('vmap', 'EINVAL', ['dma_buf_vmap', CORE], 'the exporter has a vmap callback; VFIO’s has none'),
      rule(
        'vmap',
        'EINVAL',
        ['dma_buf_mmap', CORE],
        'the exporter has an mmap callback; VFIO’s has none. An mmap() of the descriptor itself has the same check ' +
          '(dma_buf_mmap_internal)',
      ),
    ],
    remedy:
      'The importer copies with the CPU (videobuf2-vmalloc, displays without DMA), which is not possible for device memory. ' +
      'For access by the CPU, map the BAR through VFIO.',
  },
  interrupted: {
    what: 'A signal interrupted the importer while it waited for the buffer.',
    rules: [
      rule(
        'map',
        'ERESTARTSYS',
        MAP_ATTACHMENT,
        'no signal interrupts a static importer while it waits for the fences of the buffer. The errno is internal to the ' +
          'kernel: events have it as 512',
      ),
      rule(
        'map',
        'EINTR',
        MAP_ATTACHMENT,
        'the same wait, if the fence has a wait callback that returns EINTR',
      ),
    ],
    remedy:
      'Usually harmless: the caller retries, or was being terminated. If it continues, find the sender of the signal.',
  },
  importer_unsupported: {
    what: 'The importing DRM driver cannot import dma-bufs, or not this kind of dma-buf.',
    rules: [
      rule('prime', 'EINVAL', PRIME, 'the DRM driver has gem_prime_import_sg_table'),
      ...['EOPNOTSUPP', 'ENOSYS'].map((errno) =>
        rule(
          'prime',
          errno,
          ['drm_gem_prime_fd_to_handle', 'drivers/gpu/drm/drm_prime.c'],
          'the gem_prime_import callback of the driver, if it has one, accepts this buffer',
        ),
      ),
    ],
    remedy:
      'Use a device whose driver imports dma-bufs, or a newer driver. The event names importer and task.',
    user_space: PRIME_CALLS,
  },
  not_a_dmabuf: {
    what: 'KVM got a descriptor that is not a dma-buf, or is not open.',
    rules: [
      rule('bind', 'EINVAL', ['dma_buf_get', CORE], 'the descriptor is a dma-buf', PRIVATE),
      rule('bind', 'EBADF', ['dma_buf_get', CORE], 'the descriptor is open', PRIVATE),
    ],
    remedy:
      'The process in the event passed the wrong descriptor: KVM needs the one that VFIO_DEVICE_FEATURE_DMA_BUF returned. ' +
      'Only binds by KVM are counted. For other importers the probes cannot know whether a VFIO buffer was meant: iommufd, for ' +
      'example, checks each memfd of the guest for a dma-buf.',
  },
} satisfies Partial<Record<Reason, Entry>>;
