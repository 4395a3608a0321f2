import type { Stage } from '../stream/codes.ts';

/** What the kernel was asked for: an export, a read of a buffer's VFIO data, a step of an import, or the taking away. */
export type Step = Exclude<Stage, 'unknown'> | 'export' | 'private_read' | 'revoke';

/** One check of the kernel. */
export interface Rule {
  step: Step;
  /** The errno of the call, e.g. EINVAL; null where it may be any, or the call is no refusal. */
  errno: string | null;
  function: string;
  /** Path in the kernel's source; of the posted patches where `since` is a private dialect, of the later ones where it is both. */
  file: string;
  /** The first kernel in which it can meet a VFIO dma-buf, or the private dialect that has it. */
  since: string;
  /** The last kernel that has it; null where current ones do. */
  until: string | null;
  /** What is checked, and what follows. */
  check: string;
}

/** What a name of the probes or of the model means to an operator. */
export interface Entry {
  /** What happened, as a sentence. */
  what: string;
  rules: Rule[];
  /** What to do about it. */
  remedy: string;
}

export const EXPORTER = 'drivers/vfio/pci/vfio_pci_dmabuf.c';
export const EXPORTER_V1 = 'drivers/vfio/pci/dma_buf.c';
export const CORE = 'drivers/dma-buf/dma-buf.c';
export const RDMA = 'drivers/infiniband/core/umem_dmabuf.c';
export const IOMMUFD = 'drivers/iommu/iommufd/pages.c';
export const KVM = 'virt/kvm/vfio_dmabuf.c';
/** Mainline exports VFIO dma-bufs since then. */
export const FIRST = '6.19';
/** Both private dialects; v1 alone knows `is_private`. */
export const PRIVATE = 'private-v1, private-v2';

/** A rule of mainline since exports exist, unless `more` says otherwise. */
export function rule(
  step: Step,
  errno: string | null,
  [name, file]: readonly [string, string],
  check: string,
  more: Partial<Pick<Rule, 'since' | 'until'>> = {},
): Rule {
  return { step, errno, function: name, file, since: FIRST, until: null, check, ...more };
}
