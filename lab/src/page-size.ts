import { type Kernel, pageSizeOf } from './kernels.ts';

/** The pages in which scenarios and trials give their sizes; bytes. */
const WRITTEN = 4096;

/** A size as this kernel is given it: as many pages as it has of 4 KiB. What is not a number of such pages stays. */
export const sizeOn = (kernel: Kernel, bytes: number): number =>
  bytes % WRITTEN === 0 ? (bytes / WRITTEN) * pageSizeOf(kernel) : bytes;

/** A step of a workload with its sizes as this kernel is given them. */
export const stepOn = (kernel: Kernel, step: string): string =>
  step.replaceAll(/\d+/g, (digits) => {
    const bytes = sizeOn(kernel, Number(digits));
    return bytes === Number(digits) ? digits : String(bytes);
  });

/** Numbers that a scenario expects, with its sizes as this kernel reports them. */
export const expectedOn = <T extends object>(kernel: Kernel, expected: T): T =>
  Object.fromEntries(
    Object.entries(expected).map(([key, value]) => [
      key,
      typeof value === 'number' ? sizeOn(kernel, value) : value,
    ]),
  ) as T;
