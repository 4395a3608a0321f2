import { basename, join } from 'node:path';
import { cached, digest, withCacheLock } from './cache.ts';
import { debianMirror, ensurePackages } from './host-packages.ts';
import {
  buildInitramfs,
  exportsDmaBufs,
  fetchKernel,
  type Kernel,
  type KernelFiles,
  kernelIn,
  kernelMounts,
  kernelRecipe,
  modulesOf,
} from './kernels.ts';
import { CommandError, hasCommand, run } from './shell.ts';
import { buildTree, inTree, type Suite, treeRecipe } from './tree.ts';

type Log = (line: string) => void;

/** What a guest boots from; all paths lie in the cache. */
export interface Image {
  suite: Suite;
  kernel: Kernel;
  /** What `uname -r` says there. */
  release: string;
  disk: string;
  vmlinuz: string;
  initramfs: string;
  /** /lib/modules of the guest. */
  kernelModules: string;
  /** The lab's own modules, built against `release`; none for a kernel without VFIO dma-buf export. */
  labModules: string | null;
  /** Static programs that provoke what the kernel does. */
  workloads: string;
}

const LAB = join(import.meta.dirname, '..');

const buildDisk = async (tree: string, file: string): Promise<void> => {
  await run('truncate', ['-s', '6G', file]);
  await run('mkfs.ext4', ['-q', '-F', '-O', '^has_journal', '-E', 'lazy_itable_init=1', '-d', tree, file]);
};

const buildModules = async (
  kernel: KernelFiles,
  tree: string,
  directory: string,
  log: Log,
): Promise<void> => {
  await inTree(tree, `sh /lab/modules/build.sh ${kernel.release} /kernel/source /out`, {
    log: (line) => {
      if (/error|warning: |^ +LD \[M\]/i.test(line)) log(`modules: ${line.trim()}`);
    },
    mounts: { ...kernelMounts(kernel), '/lab': LAB, '/out': directory },
  });
};

const buildWorkloads = async (tree: string, directory: string): Promise<void> => {
  await inTree(
    tree,
    'cp -r /lab/workloads /lab/modules /tmp/; make -s -C /tmp/workloads OUT=/out; rm -rf /tmp/workloads /tmp/modules',
    { mounts: { '/lab': LAB, '/out': directory } },
  );
};

/** Everything a guest with this user space and this kernel boots from, built where the cache has it not. */
export const ensureImage = async (suite: Suite, kernel: Kernel, log: Log): Promise<Image> => {
  await ensurePackages(['qemu-system-x86'], log);
  return withCacheLock(log, async () => {
    const needsRoot = async (): Promise<void> => {
      await ensurePackages(['debootstrap', 'e2fsprogs'], log);
      if (process.getuid?.() !== 0)
        throw new CommandError('building the guest needs root: debootstrap changes root');
      if (!(await hasCommand('unshare'))) throw new CommandError('missing: unshare (package util-linux)');
    };
    const userSpace = (name: Suite): Promise<string> =>
      cached(`user-${name}`, digest(treeRecipe(name)), log, async (directory) => {
        await needsRoot();
        await buildTree(name, directory, await debianMirror(), log);
      });
    // What is built for the guests is built in Debian 13, whichever user space they have.
    const base = await userSpace('trixie');
    const own = suite === 'trixie' ? base : await userSpace(suite);
    const disk = await cached(`root-${suite}`, keyOf([own]), log, (directory) =>
      buildDisk(own, join(directory, 'root.ext4')),
    );
    const workloads = await cached('workloads', keyOf([base], 'modules', 'workloads'), log, (directory) =>
      buildWorkloads(base, directory),
    );
    const fetched = await cached(
      `kernel-${kernel}`,
      keyOf([base, ...kernelRecipe(kernel)], 'src/kernels.ts'),
      log,
      (directory) => fetchKernel(kernel, base, directory, log),
    );
    const files = kernelIn(fetched);
    const boot = await cached(
      `boot-${kernel}`,
      keyOf([fetched], 'src/kernels.ts', 'guest/initramfs-init'),
      log,
      (directory) => buildInitramfs(files, base, directory, join(LAB, 'guest/initramfs-init')),
    );
    const labModules = !exportsDmaBufs(kernel)
      ? null
      : await cached(`modules-${kernel}`, keyOf([fetched], 'modules'), log, (directory) =>
          buildModules(files, base, directory, log),
        );
    return {
      suite,
      kernel,
      release: files.release,
      disk: join(disk, 'root.ext4'),
      vmlinuz: join(fetched, 'vmlinuz'),
      initramfs: join(boot, 'initramfs.gz'),
      kernelModules: modulesOf(files),
      labModules,
      workloads,
    };
  });
};

/** A key of what is built from folders of the cache, whose names are keys themselves, and from files of the lab. */
const keyOf = (from: readonly string[], ...paths: readonly string[]): string =>
  digest(
    from.map((text) => basename(text)),
    paths.map((path) => join(LAB, path)),
  );
