import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { ARCHITECTURES, type Architecture } from './architecture.ts';
import { cached, digest } from './cache.ts';
import { debianMirror, ensurePackages, ensureProgramsOf } from './host-packages.ts';
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
import { BUILDER, buildCrossTree, buildTree, crossRecipe, inTree, type Suite, treeRecipe } from './tree.ts';

type Log = (line: string) => void;

/** Files that a guest boots from; all paths are in the cache. */
export interface Image {
  architecture: Architecture;
  suite: Suite;
  kernel: Kernel;
  /** `uname -r` of the guest. */
  release: string;
  vmlinuz: string;
  initramfs: string;
  /** Images of the guest's read-only disks: root, /usr/lib/modules, /lab. */
  disks: readonly [root: string, kernelModules: string, lab: string];
}

const LAB = join(import.meta.dirname, '..');

/** Writes an image of an ext4 file system of this size (`truncate -s`) with the contents of a folder. */
export async function buildDisk(tree: string, file: string, size: string): Promise<void> {
  await run('truncate', ['-s', size, file]);
  await run('mkfs.ext4', ['-q', '-F', '-O', '^has_journal', '-E', 'lazy_itable_init=1', '-d', tree, file]);
}

/** The tree that builds for an architecture, and the prefix of its compiler's tools. */
interface Builder {
  tree: string;
  compilerPrefix: string;
}

/**
 * Builds the disk that is /lab in the guest: scripts, the lab's modules and workloads. The program has its own disk
 * (stage.ts).
 */
async function buildLabDisk(file: string, workloads: string, labModules: string | null): Promise<void> {
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
}

async function buildModules(
  kernel: KernelFiles,
  { tree, compilerPrefix }: Builder,
  directory: string,
  log: Log,
): Promise<void> {
  const build = `CROSS_COMPILE=${compilerPrefix} sh /lab/modules/build.sh ${kernel.release} /kernel/source /out`;
  await inTree(tree, build, {
    log: (line) => {
      if (/error|warning: |^ +LD \[M\]/i.test(line)) log(`modules: ${line.trim()}`);
    },
    mounts: { ...kernelMounts(kernel), '/lab': LAB, '/out': directory },
  });
}

async function buildWorkloads({ tree, compilerPrefix }: Builder, directory: string): Promise<void> {
  await inTree(
    tree,
    `cp -r /lab/workloads /lab/modules /tmp/
     make -s -C /tmp/workloads OUT=/out CC=${compilerPrefix}gcc
     rm -rf /tmp/workloads /tmp/modules`,
    { mounts: { '/lab': LAB, '/out': directory } },
  );
}

/** Returns the files that a guest with this user space and kernel boots from. Builds what the cache does not have. */
export async function ensureImage(suite: Suite, kernel: Kernel, log: Log): Promise<Image> {
  const architecture = architectureOf(kernel);
  const { qemuPackage, compilerPrefix } = ARCHITECTURES[architecture];
  await ensurePackages([qemuPackage, 'e2fsprogs', 'zstd'], log);
  const needsRoot = async (): Promise<void> => {
    await ensurePackages(['debootstrap', 'e2fsprogs'], log);
    if (process.getuid?.() !== 0)
      throw new CommandError('building the guest needs root: debootstrap changes root');
    if (!(await hasCommand('unshare'))) throw new CommandError('missing: unshare (package util-linux)');
  };
  const userSpace = (name: Suite, of: Architecture): Promise<string> =>
    cached(marked(`user-${name}`, of), digest(treeRecipe(name, of)), log, async (directory) => {
      await needsRoot();
      await ensureProgramsOf(of, log);
      await buildTree(name, of, directory, await debianMirror(), log);
    });
  const base = await userSpace(BUILDER.suite, BUILDER.architecture);
  const builder: Builder = {
    compilerPrefix,
    tree:
      architecture === BUILDER.architecture
        ? base
        : await cached(
            marked('builder', architecture),
            keyOf([base, ...crossRecipe(architecture)]),
            log,
            (directory) => buildCrossTree(base, architecture, directory, log),
          ),
  };
  const tree = await userSpace(suite, architecture);
  const disk = await cached(marked(`root-${suite}`, architecture), keyOf([tree]), log, (directory) =>
    buildDisk(tree, join(directory, 'root.ext4'), '6G'),
  );
  const workloads = await cached(
    marked('workloads', architecture),
    keyOf([builder.tree], 'modules', 'workloads'),
    log,
    (directory) => buildWorkloads(builder, directory),
  );
  const fetched = await cached(
    `kernel-${kernel}`,
    keyOf([base, ...kernelRecipe(kernel)], 'src/kernels.ts'),
    log,
    (directory) => fetchKernel(kernel, base, directory, log),
  );
  const files = kernelIn(fetched);
  // busybox always comes from Debian 13, so that all user spaces of a kernel share one initramfs.
  const programs = await userSpace(BUILDER.suite, architecture);
  const boot = await cached(
    `boot-${kernel}`,
    keyOf([fetched, programs], 'src/kernels.ts', 'guest/initramfs-init'),
    log,
    (directory) =>
      buildInitramfs(files, base, directory, {
        busybox: join(programs, 'usr/bin/busybox'),
        init: join(LAB, 'guest/initramfs-init'),
      }),
  );
  const labModules = !exportsDmaBufs(kernel)
    ? null
    : await cached(`modules-${kernel}`, keyOf([fetched], 'modules'), log, (directory) =>
        buildModules(files, builder, directory, log),
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
}

/** Adds the architecture to the name of a part, if it is not the builder's. */
function marked(name: string, architecture: Architecture): string {
  return architecture === BUILDER.architecture ? name : `${name}-${architecture}`;
}

/**
 * The cache key of what is built from other folders of the cache, whose names contain their keys, and from files of the
 * lab.
 */
function keyOf(from: readonly string[], ...paths: readonly string[]): string {
  return digest(
    from.map((text) => basename(text)),
    paths.map((path) => join(LAB, path)),
  );
}
