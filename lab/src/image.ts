import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cached, digest, withCacheLock } from './cache.ts';
import { debianMirror, ensurePackages } from './host-packages.ts';
import { CommandError, hasCommand, run } from './shell.ts';
import { buildTree, inTree, type Suite, treeRecipe } from './tree.ts';

type Log = (line: string) => void;

/** What a guest boots from; all paths lie in the cache. */
export interface Image {
  suite: Suite;
  disk: string;
  kernel: string;
  initramfs: string;
  release: string;
  /** Kernel modules of the lab, built against `release`. */
  modules: string;
  /** Static programs that provoke what the kernel does. */
  workloads: string;
}

const LAB = join(import.meta.dirname, '..');

/** Modules that the initramfs needs to reach the root disk and the shares, with what they depend on. */
const BOOT_MODULES = ['virtio_pci', 'virtio_blk', 'ext4', '9pnet_virtio', '9p'];

const kernelOf = (tree: string): string => readFileSync(join(tree, 'kernel/release'), 'utf8').trim();

const buildBoot = async (tree: string, directory: string): Promise<void> => {
  const release = kernelOf(tree);
  copyFileSync(join(tree, 'boot', `vmlinuz-${release}`), join(directory, 'vmlinuz'));
  writeFileSync(join(directory, 'release'), release);
  const stage = '/kernel/initramfs';
  await inTree(
    tree,
    `rm -rf ${stage}; mkdir -p ${stage}/bin ${stage}/modules; cp /bin/busybox ${stage}/bin/
     for name in ${BOOT_MODULES.join(' ')}; do modprobe -S ${release} --show-depends "$name"; done |
       sed -n 's/^insmod \\([^ ]*\\).*/\\1/p' | awk '!seen[$0]++' >/kernel/order
     while read -r file; do
       base=$(basename "$file" .xz)
       case "$file" in *.xz) xz -dc "$file" >"${stage}/modules/$base" ;; *) cp "$file" "${stage}/modules/$base" ;; esac
       echo "$base" >>${stage}/modules/order
     done </kernel/order`,
  );
  copyFileSync(join(LAB, 'guest/initramfs-init'), join(tree, stage, 'init'));
  await inTree(
    tree,
    `chmod 755 ${stage}/init; cd ${stage}; find . | cpio -o -H newc --quiet | gzip -1 >/kernel/initramfs.gz`,
  );
  copyFileSync(join(tree, 'kernel/initramfs.gz'), join(directory, 'initramfs.gz'));
};

const buildDisk = async (tree: string, file: string): Promise<void> => {
  await run('truncate', ['-s', '6G', file]);
  await run('mkfs.ext4', ['-q', '-F', '-O', '^has_journal', '-E', 'lazy_itable_init=1', '-d', tree, file]);
};

const buildModules = async (tree: string, directory: string, log: Log): Promise<void> => {
  const inside = join(tree, 'kernel/lab-modules');
  await run('rm', ['-rf', inside, join(tree, 'kernel/out')]);
  cpSync(join(LAB, 'modules'), inside, { recursive: true });
  mkdirSync(join(tree, 'kernel/out'));
  await inTree(tree, `sh /kernel/lab-modules/build.sh ${kernelOf(tree)} /kernel /kernel/out`, (line) => {
    if (/error|warning: |^ +LD \[M\]/i.test(line)) log(`modules: ${line.trim()}`);
  });
  cpSync(join(tree, 'kernel/out'), directory, { recursive: true });
};

const buildWorkloads = async (tree: string, directory: string): Promise<void> => {
  const inside = join(tree, 'kernel/lab');
  await run('rm', ['-rf', inside]);
  for (const part of ['workloads', 'modules'])
    cpSync(join(LAB, part), join(inside, part), { recursive: true });
  await inTree(
    tree,
    'rm -rf /kernel/bin; mkdir /kernel/bin; make -s -C /kernel/lab/workloads OUT=/kernel/bin',
  );
  cpSync(join(tree, 'kernel/bin'), directory, { recursive: true });
};

/** Everything a guest of the suite boots from, built where the cache has it not. */
export const ensureImage = async (suite: Suite, log: Log): Promise<Image> => {
  await ensurePackages(['qemu-system-x86'], log);
  return withCacheLock(log, async () => {
    const needsRoot = async (): Promise<void> => {
      await ensurePackages(['debootstrap', 'e2fsprogs'], log);
      if (process.getuid?.() !== 0)
        throw new CommandError('building the guest needs root: debootstrap changes root');
      if (!(await hasCommand('unshare'))) throw new CommandError('missing: unshare (package util-linux)');
    };
    const tree = (name: Suite): Promise<string> =>
      cached(`tree-${name}`, digest(treeRecipe(name)), log, async (directory) => {
        await needsRoot();
        await buildTree(name, directory, await debianMirror(), log);
      });
    const base = await tree('trixie');
    const key = (...paths: string[]): string =>
      digest([base], [join(LAB, 'src/image.ts'), ...paths.map((path) => join(LAB, path))]);
    const boot = await cached('boot', key('guest/initramfs-init'), log, (directory) =>
      buildBoot(base, directory),
    );
    const modules = await cached('modules', key('modules'), log, (directory) =>
      buildModules(base, directory, log),
    );
    const workloads = await cached('workloads', key('modules', 'workloads'), log, (directory) =>
      buildWorkloads(base, directory),
    );
    const own = suite === 'trixie' ? base : await tree(suite);
    const disk = await cached(`disk-${suite}`, digest([base, own]), log, async (directory) => {
      if (own !== base) {
        await run('rm', ['-rf', join(own, 'lib/modules')]);
        await run('cp', ['-a', '--reflink=auto', join(base, 'lib/modules'), join(own, 'usr/lib/')]);
      }
      await buildDisk(own, join(directory, 'root.ext4'));
    });
    return {
      suite,
      disk: join(disk, 'root.ext4'),
      kernel: join(boot, 'vmlinuz'),
      initramfs: join(boot, 'initramfs.gz'),
      release: readFileSync(join(boot, 'release'), 'utf8'),
      modules,
      workloads,
    };
  });
};
