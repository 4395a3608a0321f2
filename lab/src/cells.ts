import { GUEST_DIALECTS, type GuestDialect } from './guest.ts';
import { architectureOf, exportsDmaBufs, KERNELS, type Kernel } from './kernels.ts';
import { SUITES, type Suite } from './tree.ts';

/** One kind of host that the lab can be: a kernel, the user space that brings bpftrace, and what vfio-pci-core speaks. */
export interface Cell {
  kernel: Kernel;
  suite: Suite;
  dialect: GuestDialect;
}

export const nameOf = ({ kernel, suite, dialect }: Cell): string => `${kernel}/${suite}/${dialect}`;

/** The user spaces that the lab has for a kernel. */
const suitesOf = (kernel: Kernel): readonly Suite[] =>
  architectureOf(kernel) === 'amd64' ? SUITES : ['trixie'];

/** Every cell there is. A kernel without VFIO dma-buf export has nothing to be rebuilt, so it has no dialects. */
export const CELLS: readonly Cell[] = KERNELS.flatMap((kernel) =>
  suitesOf(kernel).flatMap((suite) =>
    GUEST_DIALECTS.filter((dialect) => dialect === 'mainline' || exportsDmaBufs(kernel)).map((dialect) => ({
      kernel,
      suite,
      dialect,
    })),
  ),
);

/** The kernel that the recordings and the demo stand on, and that a name alone means. */
export const USUAL_KERNEL: Kernel = '7.3';

/**
 * What `all` tries, within the time of a test run: the usual kernel with both bpftraces, each other dialect with one of them, and a
 * kernel that exports nothing. Of a cell that repeats another, `isEveryday` leaves a part; the matrix has all of every cell.
 */
export const EVERYDAY_CELLS: readonly Cell[] = CELLS.filter(
  ({ kernel, suite, dialect }) =>
    (!exportsDmaBufs(kernel) && suite === 'sid') ||
    (kernel === USUAL_KERNEL &&
      (dialect === 'mainline' || (dialect === 'private-v1') === (suite === 'trixie'))),
);

/** The usual kernel as the distribution built it, with either bpftrace. */
export const isUsual = ({ kernel, dialect }: Cell): boolean =>
  kernel === USUAL_KERNEL && dialect === 'mainline';
/** What does not depend on the version of bpftrace is tried with one. */
export const isUsualOnce = (cell: Cell): boolean => isUsual(cell) && cell.suite === 'trixie';
