import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Architecture } from './architecture.ts';
import { BUILDER, inTree, progress } from './tree.ts';

type Log = (line: string) => void;

/**
 * The kernels that a guest can boot, by series and flavour. The archive determines the release when the kernel is
 * fetched.
 */
export const KERNELS = ['6.12', '7.2', '7.3', '7.3-arm64', '7.3-arm64-16k'] as const;
export type Kernel = (typeof KERNELS)[number];

interface Origin {
  /** The suite that has the metapackage, and the metapackage's flavour: linux-image-FLAVOUR. */
  suite: string;
  flavour: string;
  architecture: Architecture;
  /** Bytes. */
  pageSize: number;
  /** Whether it can export VFIO memory as a dma-buf. */
  exportsDmaBufs: boolean;
}

const X86 = { flavour: 'amd64', architecture: 'amd64', pageSize: 4096 } as const;

const ORIGIN: Readonly<Record<Kernel, Origin>> = {
  '6.12': { ...X86, suite: 'trixie', exportsDmaBufs: false },
  '7.2': { ...X86, suite: 'sid', exportsDmaBufs: true },
  '7.3': { ...X86, suite: 'trixie-backports', exportsDmaBufs: true },
  '7.3-arm64': {
    ...{ suite: 'trixie-backports', flavour: 'arm64', architecture: 'arm64' },
    ...{ pageSize: 4096, exportsDmaBufs: true },
  },
  '7.3-arm64-16k': {
    ...{ suite: 'trixie-backports', flavour: 'arm64-16k', architecture: 'arm64' },
    ...{ pageSize: 16_384, exportsDmaBufs: true },
  },
};

export function exportsDmaBufs(kernel: Kernel): boolean {
  return ORIGIN[kernel].exportsDmaBufs;
}
export function architectureOf(kernel: Kernel): Architecture {
  return ORIGIN[kernel].architecture;
}
/** Bytes in a page of this kernel. */
export function pageSizeOf(kernel: Kernel): number {
  return ORIGIN[kernel].pageSize;
}

/** Everything that determines what is fetched. These texts are part of the cache key. */
export function kernelRecipe(kernel: Kernel): string[] {
  const { suite, flavour, architecture } = ORIGIN[kernel];
  return ['3', kernel, suite, flavour, architecture];
}

/** A fetched kernel: its folder and its release (`uname -r`). */
export interface KernelFiles {
  directory: string;
  release: string;
}

export function kernelIn(directory: string): KernelFiles {
  return {
    directory,
    release: readFileSync(join(directory, 'release'), 'utf8').trim(),
  };
}

/** The folder that becomes /lib/modules of a guest with this kernel. */
export function modulesOf({ directory }: KernelFiles): string {
  return join(directory, 'root/usr/lib/modules');
}

/** Bind mounts (path in the tree, folder) for a tree that builds something for this kernel. */
export function kernelMounts({ directory }: KernelFiles): Record<string, string> {
  const root = join(directory, 'root');
  const kbuild = readdirSync(join(root, 'usr/lib')).filter((name) => name.startsWith('linux-kbuild-'));
  return Object.fromEntries([
    ['/kernel', directory],
    ...['usr/lib/modules', 'usr/src', ...kbuild.map((name) => `usr/lib/${name}`)].map((path) => [
      `/${path}`,
      join(root, path),
    ]),
  ]);
}

/**
 * Fetches a kernel into a folder. `root/` contains its unpacked packages: image, modules, and headers if the lab builds
 * modules for it. `source/` contains the parts of its source that the lab rebuilds, and `release` its release. The
 * archive replaces versions, so package names come from the dependencies of the metapackages: a suite with a newer
 * kernel gives the newer one. The kbuild package is that of the builder's architecture. The index of sid may have
 * expired on a slow mirror, so its date is not checked; its signature is.
 */
export const fetchKernel = async (
  kernel: Kernel,
  tree: string,
  directory: string,
  log: Log,
): Promise<void> => {
  const { suite, flavour, architecture } = ORIGIN[kernel];
  const builds = exportsDmaBufs(kernel);
  for (const path of ['root/usr/lib/modules', 'root/usr/src', 'source', 'apt/lists/partial'])
    mkdirSync(join(directory, path), { recursive: true });
  await inTree(
    tree,
    `cd /kernel/apt
     sed -n 's/^deb \\([^ ]*\\) .*/\\1/p' /etc/apt/sources.list | head -n 1 |
       while read -r mirror; do echo "deb $mirror ${suite} main" >list; done
     options='-q -o Acquire::Check-Valid-Until=false -o Dir::Etc::SourceList=/kernel/apt/list -o Dir::Etc::SourceParts=- -o Dir::State::Lists=/kernel/apt/lists'
     options="$options -o APT::Architecture=${architecture} -o APT::Architectures=${architecture},${BUILDER.architecture}"
     apt-get $options update
     apt-cache $options depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \\
       --no-enhances linux-image-${flavour} ${builds ? `linux-headers-${flavour}` : ''} |
       grep -E '^linux-[a-z]+-[0-9]' | grep -v -e '-unsigned$' |
       sed -e 's/:.*//' -e 's/^linux-kbuild-.*/&:${BUILDER.architecture}/' | sort -u >packages
     release=$(sed -n 's/^linux-image-//p' packages)
     series=$(echo "$release" | cut -d. -f1,2)
     ${builds ? 'echo "linux-source-$series" >>packages' : ''}
     apt-get $options -o APT::Sandbox::User=root download $(cat packages)
     for package in linux-[!s]*.deb; do dpkg-deb --fsys-tarfile "$package" | tar xf - -C ../root; done
     for package in linux-source-*.deb; do
       [ -e "$package" ] || continue
       dpkg-deb --fsys-tarfile "$package" | tar xOf - --wildcards './usr/src/linux-source-*.tar.xz' | xz -dc |
         tar xf - -C ../source --strip-components=1 --wildcards \\
           'linux-source-*/drivers/vfio/*' 'linux-source-*/drivers/iommu/*' \\
           'linux-source-*/arch/x86/kvm/*.h' 'linux-source-*/lib/interval_tree.c'
     done
     cd ..
     rm -rf apt
     for image in "root/boot/vmlinuz-$release" "root/usr/lib/modules/$release/vmlinuz"; do
       [ ! -e "$image" ] || cp "$image" vmlinuz
     done
     echo "$release" >release`,
    { log: progress(`kernel ${kernel}`, log), mounts: { '/kernel': directory } },
  );
  const files = kernelIn(directory);
  await inTree(tree, `depmod ${files.release}`, { mounts: kernelMounts(files) });
  log(`kernel ${kernel}: ${files.release} of ${suite}`);
  if (!files.release.startsWith(`${kernel.split('-')[0]}.`))
    log(`kernel ${kernel}: ${suite} no longer has this series, so the lab uses ${files.release} instead`);
};

/** Modules that the initramfs needs to mount the disks; their dependencies are added. */
const BOOT_MODULES = ['virtio_pci', 'virtio_blk', 'ext4', 'overlay'];

/** Builds the initramfs that mounts a guest's disks. `busybox` has its programs; `init` is its first program. */
export async function buildInitramfs(
  kernel: KernelFiles,
  tree: string,
  directory: string,
  { busybox, init }: { busybox: string; init: string },
): Promise<void> {
  mkdirSync(join(directory, 'content/modules'), { recursive: true });
  mkdirSync(join(directory, 'content/bin'));
  writeFileSync(join(directory, 'content/init'), readFileSync(init), { mode: 0o755 });
  copyFileSync(busybox, join(directory, 'content/bin/busybox'));
  await inTree(
    tree,
    `cd /initramfs/content
     for name in ${BOOT_MODULES.join(' ')}; do modprobe -S ${kernel.release} --show-depends "$name"; done |
       sed -n 's/^insmod \\([^ ]*\\).*/\\1/p' | awk '!seen[$0]++' |
       while read -r file; do
         base=$(basename "$file" .xz)
         case "$file" in *.xz) xz -dc "$file" >"modules/$base" ;; *) cp "$file" "modules/$base" ;; esac
         echo "$base" >>modules/order
       done
     find . | cpio -o -H newc --quiet | gzip -1 >../initramfs.gz
     rm -rf ../content`,
    { mounts: { ...kernelMounts(kernel), '/initramfs': directory } },
  );
}
