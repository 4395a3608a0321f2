import { type Kernel, pageSizeOf } from './kernels.ts';

/** Page size that scenarios and trials are written for, bytes. */
const WRITTEN = 4096;

/**
 * Converts a size of n 4-KiB pages to n pages of this kernel, bytes. A size that is not a multiple of 4 KiB stays
 * unchanged.
 */
export function sizeOn(kernel: Kernel, bytes: number): number {
  return bytes % WRITTEN === 0 ? (bytes / WRITTEN) * pageSizeOf(kernel) : bytes;
}

/** Converts the sizes in a step of a workload session. */
export function stepOn(kernel: Kernel, step: string): string {
  return step.replaceAll(/\d+/g, (digits) => {
    const bytes = sizeOn(kernel, Number(digits));
    return bytes === Number(digits) ? digits : String(bytes);
  });
}

/** Converts the sizes in what a scenario expects. */
export function expectedOn<T extends object>(kernel: Kernel, expected: T): T {
  return Object.fromEntries(
    Object.entries(expected).map(([key, value]) => [
      key,
      typeof value === 'number' ? sizeOn(kernel, value) : value,
    ]),
  ) as T;
}
