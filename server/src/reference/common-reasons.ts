import type { Reason } from '../protocol/codes.ts';
import {
  type CallStage,
  CORE,
  type Entry,
  EXPORTER,
  IOMMUFD,
  KVM,
  PRIVATE,
  RDMA,
  type Rule,
  rule,
} from './entry.ts';

/** The function of each stage whose errors the probes report. ioas_map reports EFAULT only, which has its own reasons. */
const CALLS: Record<Exclude<CallStage, 'revoke' | 'ioas_map'>, readonly [string, string]> = {
  export: ['vfio_pci_core_feature_dma_buf', EXPORTER],
  private_read: ['vfio_dma_buf_get_data', EXPORTER],
  attach: ['dma_buf_dynamic_attach', CORE],
  pin: ['dma_buf_pin', CORE],
  map: ['dma_buf_map_attachment', CORE],
  vmap: ['dma_buf_vmap', CORE],
  iommufd: ['iopt_map_dmabuf', IOMMUFD],
  bind: ['kvm_vfio_dmabuf_bind', KVM],
  rdma: ['ib_umem_dmabuf_get', RDMA],
  prime: ['drm_gem_prime_import', 'drivers/gpu/drm/drm_prime.c'],
  videobuf2: ['__prepare_dmabuf', 'drivers/media/common/videobuf2/videobuf2-core.c'],
  devmem: ['net_devmem_bind_dmabuf', 'net/core/devmem.c'],
  get_pfn: ['kvm_vfio_dmabuf_get_pfn', KVM],
};

const STAGES = Object.keys(CALLS) as (keyof typeof CALLS)[];

const OF_PRIVATE_DIALECTS: readonly CallStage[] = ['bind', 'private_read', 'get_pfn'];

function at(stages: readonly (keyof typeof CALLS)[], errno: string | null, check: string): Rule[] {
  return stages.map((stage) =>
    rule(stage, errno, CALLS[stage], check, OF_PRIVATE_DIALECTS.includes(stage) ? PRIVATE : undefined),
  );
}

/** Reasons that can occur at any stage. */
export const COMMON_REASONS = {
  other: {
    what: 'The kernel rejected the call for a reason that the probes cannot identify; only the errno is known.',
    rules: at(STAGES, null, 'no error occurs that has no reason of its own'),
    remedy:
      'Look up the errno of the event in the function of its stage. If it happens more than once, report it: a reason is ' +
      'missing here.',
  },
  no_memory: {
    what: 'The kernel could not allocate memory for the call.',
    // private_read, the rejection at vmap, and KVM's answer to a fault never report it.
    rules: at(
      STAGES.filter((stage) => !['private_read', 'vmap', 'get_pfn'].includes(stage)),
      'ENOMEM',
      'the kernel’s allocations succeed',
    ),
    remedy:
      'Check the free memory of the host, and the limits of the cgroup of the process (`memory.events`).',
  },
} satisfies Partial<Record<Reason, Entry>>;
