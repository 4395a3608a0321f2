import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './shell.ts';

type Log = (line: string) => void;

/** The suites a guest can be made of: Debian 13 with its bpftrace, and sid with the newest. */
export const SUITES = ['trixie', 'sid'] as const;
export type Suite = (typeof SUITES)[number];

const GUEST_PACKAGES = ['bpftrace', 'nodejs', 'kmod', 'busybox-static', 'iproute2', 'procps', 'util-linux'];
const BUILD_PACKAGES = ['gcc', 'make', 'libc6-dev', 'pahole', 'xz-utils', 'cpio'];

/** Everything that decides what a tree is: its texts are the key of the cache. */
export const treeRecipe = (suite: Suite): string[] =>
  suite === 'trixie' ? ['2', suite, ...GUEST_PACKAGES, ...BUILD_PACKAGES] : ['2', suite, ...GUEST_PACKAGES];

/** Runs a shell script inside a tree, with a /proc of its own. */
export const inTree = (tree: string, script: string, log?: Log): Promise<string> =>
  run(
    'unshare',
    [
      ...['--mount', '--pid', '--fork', '--propagation', 'private', 'sh', '-euc'],
      'mount -t proc proc "$0/proc"; exec chroot "$0" sh -euc "$1"',
      tree,
      script,
    ],
    {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' },
      ...(log && { onLine: log }),
    },
  );

const APT = 'apt-get -o Dpkg::Options::=--force-unsafe-io -y -q --no-install-recommends';

/** A Debian of the suite in a folder. Needs root: debootstrap makes device nodes and changes root. */
export const buildTree = async (
  suite: Suite,
  tree: string,
  mirror: string | undefined,
  log: Log,
): Promise<void> => {
  mkdirSync(tree, { recursive: true });
  const arguments_ = ['--variant=minbase', '--include=ca-certificates', suite, tree];
  await run('debootstrap', mirror === undefined ? arguments_ : [...arguments_, mirror], {
    onLine: progress(suite, log),
  });
  await inTree(tree, `${APT} install ${GUEST_PACKAGES.join(' ')}`, progress(suite, log));
  if (suite === 'trixie') await addKernel(tree, log);
  await inTree(tree, 'apt-get clean; rm -rf /var/lib/apt/lists/*');
};

/**
 * The newest kernel of trixie-backports, what modules are built with, and its source package. The versions rotate, so
 * the names come from the metapackages' dependencies.
 */
const addKernel = async (tree: string, log: Log): Promise<void> => {
  const say = progress('trixie', log);
  // The initramfs of the distribution is of no use here, and takes long to make.
  mkdirSync(join(tree, 'etc/initramfs-tools'), { recursive: true });
  writeFileSync(join(tree, 'etc/initramfs-tools/update-initramfs.conf'), 'update_initramfs=no\n');
  await inTree(
    tree,
    `sed -n 's/^deb \\([^ ]*\\) .*/\\1/p' /etc/apt/sources.list | head -n 1 |
       while read -r mirror; do echo "deb $mirror trixie-backports main" >/etc/apt/sources.list.d/backports.list; done
     apt-get -q update
     ${APT} install ${BUILD_PACKAGES.join(' ')}
     ${APT} -o Dpkg::Options::=--force-confold install -t trixie-backports linux-image-amd64 linux-headers-amd64`,
    say,
  );
  await inTree(
    tree,
    `release=$(ls /lib/modules | sort -V | tail -n 1)
     source=$(apt-cache search --names-only '^linux-source-[0-9.]+$' | cut -d' ' -f1 | sort -V | tail -n 1)
     mkdir -p /kernel && cd /kernel && echo "$release" >release
     apt-get download -q -t trixie-backports "$source"
     dpkg-deb --fsys-tarfile "$source"_*.deb | tar xf - --wildcards './usr/src/linux-source-*.tar.xz'
     tar xf usr/src/linux-source-*.tar.xz --strip-components=1 --wildcards \
       '*/drivers/vfio/*' '*/drivers/iommu/*' '*/lib/interval_tree.c' '*/include/*'
     rm -rf usr "$source"_*.deb`,
    say,
  );
};

const STEPS = /^(?:I: (?:Retrieving|Extracting|Configuring|Unpacking)|Setting up|Unpacking|Get:\d+) *(\S+)/;

/** Turns the long output of package tools into one line that says where it stands, at most twice a second. */
const progress = (name: string, log: Log): Log => {
  let last = 0;
  return (line) => {
    if (!STEPS.test(line) || Date.now() - last < 2000) return;
    last = Date.now();
    log(`${name}: ${line.slice(0, 100)}`);
  };
};
