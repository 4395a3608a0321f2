import type { Where } from './entry.ts';

/** Formats which kernels have a rule, e.g. `kernels with vfio_pci_dma_buf_pin (mainline 6.19 to 7.0)`. */
export function kernelsText({ kernels, mainline }: Where): string {
  return mainline === null ? kernels : `${kernels} (mainline ${mainline})`;
}
