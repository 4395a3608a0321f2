import { GUEST_DIALECTS, type GuestDialect } from './guest.ts';
import { architectureOf, exportsDmaBufs, KERNELS, type Kernel } from './kernels.ts';
import { SUITES, type Suite } from './tree.ts';

/** One kind of guest: a kernel, the user space with its version of bpftrace, and the dialect of vfio-pci-core. */
export interface Cell {
  kernel: Kernel;
  suite: Suite;
  dialect: GuestDialect;
}

export function nameOf({ kernel, suite, dialect }: Cell): string {
  return `${kernel}/${suite}/${dialect}`;
}

/** The user spaces that the lab can combine with a kernel. */
function suitesOf(kernel: Kernel): readonly Suite[] {
  return architectureOf(kernel) === 'amd64' ? SUITES : ['trixie'];
}

/** All cells. A kernel without VFIO dma-buf export has no exporter to rebuild, so it has only the mainline dialect. */
export const CELLS: readonly Cell[] = KERNELS.flatMap((kernel) =>
  suitesOf(kernel).flatMap((suite) =>
    GUEST_DIALECTS.filter((dialect) => dialect === 'mainline' || exportsDmaBufs(kernel)).map((dialect) => ({
      kernel,
      suite,
      dialect,
    })),
  ),
);

/** The kernel of the recordings and of the demo, and the default of `--kernel`. */
export const USUAL_KERNEL: Kernel = '7.3';

/**
 * The cells of `npm run lab -- all`, chosen so that a test run is short. The usual kernel runs with both versions of
 * bpftrace, each other dialect with one of them. A kernel without export runs too. `isEveryday` selects scenarios; the
 * matrix runs all of them.
 */
export const EVERYDAY_CELLS: readonly Cell[] = CELLS.filter(
  ({ kernel, suite, dialect }) =>
    (!exportsDmaBufs(kernel) && suite === 'sid') ||
    (kernel === USUAL_KERNEL &&
      (dialect === 'mainline' || ['cdev', 'private-v1'].includes(dialect) === (suite === 'trixie'))),
);

/** The usual kernel as the distribution built it, with either version of bpftrace. */
export function isUsual({ kernel, dialect }: Cell): boolean {
  return kernel === USUAL_KERNEL && dialect === 'mainline';
}
/** For trials that do not depend on the version of bpftrace. */
export function isUsualOnce(cell: Cell): boolean {
  return isUsual(cell) && cell.suite === 'trixie';
}
