import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { cached, digest } from './cache.ts';
import { debianMirror, ensureArm64Programs, ensurePackages } from './host-packages.ts';
import {
  architectureOf,
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
import { type Architecture, buildTree, inTree, type Suite, treeRecipe } from './tree.ts';

type Log = (line: string) => void;

/** What a guest boots from; all paths are in the cache. */
export interface Image {
  architecture: Architecture;
  suite: Suite;
  kernel: Kernel;
  /** What `uname -r` says there. */
  release: string;
  vmlinuz: string;
  initramfs: string;
  /** Images of the guest's disks, which nothing writes to: root, /usr/lib/modules, /lab. */
  disks: readonly [root: string, kernelModules: string, lab: string];
}

const LAB = join(import.meta.dirname, '..');

/** The image of an ext4 file system of this size with the contents of a folder. */
export const buildDisk = async (tree: string, file: string, size: string): Promise<void> => {
  await run('truncate', ['-s', size, file]);
  await run('mkfs.ext4', ['-q', '-F', '-O', '^has_journal', '-E', 'lazy_itable_init=1', '-d', tree, file]);
};

/** What the guest has in /lab: scripts, the lab's modules and workloads. The program comes on a disk of its own (stage.ts). */
const buildLabDisk = async (file: string, workloads: string, labModules: string | null): Promise<void> => {
  const content = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-lab-disk-'));
  try {
    mkdirSync(join(content, 'program'));
    cpSync(join(LAB, 'guest'), join(content, 'guest'), { recursive: true });
    cpSync(workloads, join(content, 'bin'), { recursive: true });
    if (labModules !== null) cpSync(labModules, join(content, 'modules'), { recursive: true });
    for (const name of ['dist', 'files']) symlinkSync(`program/${name}`, join(content, name));
    await buildDisk(content, file, '128M');
  } finally {
    rmSync(content, { recursive: true, force: true });
  }
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
  const architecture = architectureOf(kernel);
  /** Parts for other architectures have names of their own. */
  const own = architecture === 'amd64' ? '' : `-${architecture}`;
  await ensurePackages(
    [architecture === 'amd64' ? 'qemu-system-x86' : 'qemu-system-arm', 'e2fsprogs', 'zstd'],
    log,
  );
  // Everything for arm64 is built inside of its tree.
  if (architecture === 'arm64') await ensureArm64Programs(log);
  const needsRoot = async (): Promise<void> => {
    await ensurePackages(['debootstrap', 'e2fsprogs'], log);
    if (process.getuid?.() !== 0)
      throw new CommandError('building the guest needs root: debootstrap changes root');
    if (!(await hasCommand('unshare'))) throw new CommandError('missing: unshare (package util-linux)');
  };
  const userSpace = (name: Suite): Promise<string> =>
    cached(`user-${name}${own}`, digest(treeRecipe(name, architecture)), log, async (directory) => {
      await needsRoot();
      await buildTree(name, architecture, directory, await debianMirror(), log);
    });
  // What is built for the guests is built in Debian 13, whichever user space they have.
  const base = await userSpace('trixie');
  const tree = suite === 'trixie' ? base : await userSpace(suite);
  const disk = await cached(`root-${suite}${own}`, keyOf([tree]), log, (directory) =>
    buildDisk(tree, join(directory, 'root.ext4'), '6G'),
  );
  const workloads = await cached(`workloads${own}`, keyOf([base], 'modules', 'workloads'), log, (directory) =>
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
  const modulesDisk = await cached(`modules-disk-${kernel}`, keyOf([fetched]), log, (directory) =>
    buildDisk(modulesOf(files), join(directory, 'modules.ext4'), '1G'),
  );
  const labDisk = await cached(
    `lab-${kernel}`,
    keyOf([workloads, ...(labModules === null ? [] : [labModules])], 'guest'),
    log,
    (directory) => buildLabDisk(join(directory, 'lab.ext4'), workloads, labModules),
  );
  return {
    architecture,
    suite,
    kernel,
    release: files.release,
    vmlinuz: join(fetched, 'vmlinuz'),
    initramfs: join(boot, 'initramfs.gz'),
    disks: [join(disk, 'root.ext4'), join(modulesDisk, 'modules.ext4'), join(labDisk, 'lab.ext4')],
  };
};

/** A key of what is built from folders of the cache, whose names are keys themselves, and from files of the lab. */
const keyOf = (from: readonly string[], ...paths: readonly string[]): string =>
  digest(
    from.map((text) => basename(text)),
    paths.map((path) => join(LAB, path)),
  );
