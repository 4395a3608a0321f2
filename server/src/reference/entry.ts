import { STAGES, type Stage } from '../protocol/codes.ts';

/** The call that a rule is about: an export, a lookup of the VFIO data, a stage of an import, or a revocation. */
export type CallStage = Exclude<Stage, 'unknown'> | 'export' | 'private_read' | 'revoke';

/** One check in the kernel. */
export interface Rule {
  stage: CallStage;
  /** The errno of the call, e.g. EINVAL; null if any errno is possible, or if the call was not rejected. */
  errno: string | null;
  function: string;
  /** Path in the kernel source. For a private dialect, the path in the posted patches; for both dialects, in the later patches. */
  file: string;
  /** Which kernels have the check, by capability. Versions are unreliable, because distributions backport the export or parts of it. */
  kernels: string;
  /** Mainline versions with the check, as a hint only; null if no mainline kernel has it. */
  mainline: string | null;
  /** The condition that the kernel checks; for a cause, what triggers it. */
  check: string;
}

/** Meaning of a name that probes, model or user space print, for an operator. */
export interface Entry {
  /** What happened, as a sentence. */
  what: string;
  rules: Rule[];
  /** How user space shows it: log lines, failing functions, settings. `reasons` finds the entry by these texts. */
  user_space?: readonly string[];
  /** What to do about it. */
  remedy: string;
}

/** Stages at which an importer other than KVM can be rejected with a buffer. */
export const STAGES_OF_OTHER_IMPORTERS: ReadonlySet<string> = new Set(
  STAGES.filter((stage) => !['unknown', 'bind', 'get_pfn', 'ioas_map'].includes(stage)),
);

export const EXPORTER = 'drivers/vfio/pci/vfio_pci_dmabuf.c';
export const EXPORTER_V1 = 'drivers/vfio/pci/dma_buf.c';
export const CORE = 'drivers/dma-buf/dma-buf.c';
export const RDMA = 'drivers/infiniband/core/umem_dmabuf.c';
export const IOMMUFD = 'drivers/iommu/iommufd/pages.c';
export const KVM = 'virt/kvm/vfio_dmabuf.c';

/** Which kernels have a rule. */
export type Where = Pick<Rule, 'kernels' | 'mainline'>;

const EVERY: Where = { kernels: 'every kernel with VFIO dma-buf export', mainline: '6.19 or newer' };
/** Both private dialects. Only v1 has `is_private`. */
export const PRIVATE: Where = { kernels: 'private-v1, private-v2', mainline: null };
export const PRIVATE_V1: Where = { kernels: 'private-v1', mainline: null };
export const PRIVATE_V2: Where = { kernels: 'private-v2', mainline: null };

/** Makes a rule. Without `where` it applies to every kernel with the export. */
export function rule(
  stage: CallStage,
  errno: string | null,
  [name, file]: readonly [string, string],
  check: string,
  where: Where = EVERY,
): Rule {
  return { stage, errno, function: name, file, ...where, check };
}
