import type { Stage } from '../stream/codes.ts';

/** The call that a rule is about: an export, a lookup of the VFIO data, a stage of an import, or a revocation. */
export type CallStage = Exclude<Stage, 'unknown'> | 'export' | 'private_read' | 'revoke';

/** One check of the kernel. */
export interface Rule {
  stage: CallStage;
  /** The errno of the call, e.g. EINVAL; null where it may be any, or the call is no rejection. */
  errno: string | null;
  function: string;
  /** Path in the kernel's source; of the posted patches where `kernels` is a private dialect, of the later ones where it is both. */
  file: string;
  /** Which kernels have it, by what they can do: distributions carry the export, and parts of it, on older and newer versions. */
  kernels: string;
  /** The versions of mainline that have it, as a hint only; null where no mainline kernel has it. */
  mainline: string | null;
  /** What is checked, and what follows. */
  check: string;
}

/** What a name of the probes or of the model means to an operator. */
export interface Entry {
  /** What happened, as a sentence. */
  what: string;
  rules: Rule[];
  /** How user space shows it: lines of logs, functions that fail, settings that lead there. `reasons` finds the entry by these texts. */
  user_space?: readonly string[];
  /** What to do about it. */
  remedy: string;
}

/** For a private buffer that somebody offered to an importer other than KVM. No other importer is ever a remedy. */
export const PRIVATE_BUFFER_REMEDY =
  'Do not look for another importer: only KVM may import this buffer, and only for the VM that owns the device. Find ' +
  'the process that passed the descriptor on (`comm` and `pid` of the event) and stop that. An importer that was ' +
  'accepted can read and write the memory of the VM’s device.';

/** Stages at which an importer other than KVM can be rejected. */
export const STAGES_OF_OTHER_IMPORTERS: ReadonlySet<CallStage> = new Set<CallStage>([
  'attach',
  'pin',
  'map',
  'vmap',
  'iommufd',
  'rdma',
  'prime',
  'videobuf2',
  'devmem',
]);

export const EXPORTER = 'drivers/vfio/pci/vfio_pci_dmabuf.c';
export const EXPORTER_V1 = 'drivers/vfio/pci/dma_buf.c';
export const CORE = 'drivers/dma-buf/dma-buf.c';
export const RDMA = 'drivers/infiniband/core/umem_dmabuf.c';
export const IOMMUFD = 'drivers/iommu/iommufd/pages.c';
export const KVM = 'virt/kvm/vfio_dmabuf.c';

/** What a rule says of the kernels that have it. */
export type Where = Pick<Rule, 'kernels' | 'mainline'>;

const EVERY: Where = { kernels: 'each with the export', mainline: '6.19 or newer' };
/** Both private dialects; v1 alone knows `is_private`. */
export const PRIVATE: Where = { kernels: 'private-v1, private-v2', mainline: null };
export const PRIVATE_V1: Where = { kernels: 'private-v1', mainline: null };
export const PRIVATE_V2: Where = { kernels: 'private-v2', mainline: null };

/** A rule of each kernel that exports, unless `where` says otherwise. */
export function rule(
  stage: CallStage,
  errno: string | null,
  [name, file]: readonly [string, string],
  check: string,
  where: Where = EVERY,
): Rule {
  return { stage, errno, function: name, file, ...where, check };
}
