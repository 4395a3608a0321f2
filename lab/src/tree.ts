import { mkdirSync } from 'node:fs';
import { ARCHITECTURES, type Architecture } from './architecture.ts';
import { run } from './shell.ts';

type Log = (line: string) => void;

/** The suites a guest can be made of: Debian 13 with its bpftrace, and sid with the newest. */
export const SUITES = ['trixie', 'sid'] as const;
export type Suite = (typeof SUITES)[number];

const GUEST_PACKAGES = ['bpftrace', 'nodejs', 'kmod', 'busybox-static', 'iproute2', 'procps', 'util-linux'];
const BUILD_PACKAGES = ['gcc', 'make', 'libc6-dev', 'pahole', 'xz-utils', 'cpio'];

/** The tree in which everything for the guests is built, whichever user space and processor they have. */
export const BUILDER = { suite: 'trixie', architecture: 'amd64' } as const;

const isBuilder = (suite: Suite, architecture: Architecture): boolean =>
  suite === BUILDER.suite && architecture === BUILDER.architecture;

/** Everything that decides what a tree is: its texts are the key of the cache. */
export const treeRecipe = (suite: Suite, architecture: Architecture): string[] => [
  ...['3', suite, ...(architecture === BUILDER.architecture ? [] : [architecture]), ...GUEST_PACKAGES],
  ...(isBuilder(suite, architecture) ? [...BUILD_PACKAGES, ...ARCHITECTURES[architecture].vmPackages] : []),
];

export interface InTreeOptions {
  log?: Log;
  /** Folders to be seen inside, by where: the tree itself stays as it was but for empty mount points. */
  mounts?: Readonly<Record<string, string>>;
}

/** Runs a shell script inside a tree, with a /proc of its own. */
export const inTree = (tree: string, script: string, options: InTreeOptions = {}): Promise<string> =>
  run(
    'unshare',
    [
      ...['--mount', '--pid', '--fork', '--propagation', 'private', 'sh', '-euc'],
      `tree=$0 script=$1; shift
       mount -t proc proc "$tree/proc"
       while [ $# -gt 1 ]; do mkdir -p "$tree$1"; mount --bind "$2" "$tree$1"; shift 2; done
       exec chroot "$tree" sh -euc "$script"`,
      tree,
      script,
      ...Object.entries(options.mounts ?? {}).flat(),
    ],
    {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' },
      ...(options.log && { onLine: options.log }),
    },
  );

const APT = 'apt-get -o Dpkg::Options::=--force-unsafe-io -y -q --no-install-recommends';

/**
 * A Debian of the suite in a folder. Needs root: debootstrap makes device nodes and changes root. That of another architecture runs its
 * programs by QEMU's user mode, which the host must have registered (host-packages.ts).
 */
export const buildTree = async (
  suite: Suite,
  architecture: Architecture,
  tree: string,
  mirror: string | undefined,
  log: Log,
): Promise<void> => {
  mkdirSync(tree, { recursive: true });
  const arguments_ = [
    `--arch=${architecture}`,
    '--variant=minbase',
    '--include=ca-certificates',
    suite,
    tree,
  ];
  await run('debootstrap', mirror === undefined ? arguments_ : [...arguments_, mirror], {
    onLine: progress(suite, log),
  });
  const say = progress(suite, log);
  await inTree(tree, `${APT} install ${GUEST_PACKAGES.join(' ')}`, { log: say });
  if (isBuilder(suite, architecture)) {
    await inTree(
      tree,
      `sed -n 's/^deb \\([^ ]*\\) .*/\\1/p' /etc/apt/sources.list | head -n 1 |
         while read -r mirror; do echo "deb $mirror trixie-backports main" >/etc/apt/sources.list.d/backports.list; done
       apt-get -q update
       ${APT} install ${BUILD_PACKAGES.join(' ')}
       ${APT} install -t trixie-backports ${ARCHITECTURES[architecture].vmPackages.join(' ')}`,
      { log: say },
    );
  }
  // A kernel's modules come over a share of their own.
  await inTree(tree, 'apt-get clean; rm -rf /var/lib/apt/lists/*; mkdir -p /usr/lib/modules');
};

/** Everything that decides what a tree that builds for another architecture has more than the builder. */
export const crossRecipe = (architecture: Architecture): string[] => [
  '1',
  ...ARCHITECTURES[architecture].compilerPackages,
];

/** A copy of the builder with the compiler for another architecture, so that the guests of its own are not changed by that. */
export const buildCrossTree = async (
  builder: string,
  architecture: Architecture,
  tree: string,
  log: Log,
): Promise<void> => {
  await run('cp', ['-a', `${builder}/.`, tree]);
  await inTree(
    tree,
    `apt-get -q update
     ${APT} install ${ARCHITECTURES[architecture].compilerPackages.join(' ')}
     apt-get clean; rm -rf /var/lib/apt/lists/*`,
    { log: progress(`builder for ${architecture}`, log) },
  );
};

const STEPS = /^(?:I: (?:Retrieving|Extracting|Configuring|Unpacking)|Setting up|Unpacking|Get:\d+) *(\S+)/;

/** Turns the long output of package tools into one line that says where it stands, at most twice a second. */
export const progress = (name: string, log: Log): Log => {
  let last = 0;
  return (line) => {
    if (!STEPS.test(line) || Date.now() - last < 2000) return;
    last = Date.now();
    log(`${name}: ${line.slice(0, 100)}`);
  };
};
