import { mkdirSync } from 'node:fs';
import { ARCHITECTURES, type Architecture } from './architecture.ts';
import { run } from './shell.ts';

type Log = (line: string) => void;

/** The Debian suites of the guests: Debian 13 with its bpftrace, and sid with the newest bpftrace. */
export const SUITES = ['trixie', 'sid'] as const;
export type Suite = (typeof SUITES)[number];

const GUEST_PACKAGES = [
  ...['bpftrace', 'nodejs', 'kmod', 'busybox-static', 'iproute2', 'procps', 'util-linux'],
  // Only guests that try the units run it (guest/init).
  'systemd',
];
const BUILD_PACKAGES = ['gcc', 'make', 'libc6-dev', 'pahole', 'xz-utils', 'cpio'];

/** The tree in which everything for all guests is built. */
export const BUILDER = { suite: 'trixie', architecture: 'amd64' } as const;

function isBuilder(suite: Suite, architecture: Architecture): boolean {
  return suite === BUILDER.suite && architecture === BUILDER.architecture;
}

/** Everything that determines the contents of a tree. These texts are the cache key. */
export function treeRecipe(suite: Suite, architecture: Architecture): string[] {
  return [
    ...['3', suite, ...(architecture === BUILDER.architecture ? [] : [architecture]), ...GUEST_PACKAGES],
    ...(isBuilder(suite, architecture) ? [...BUILD_PACKAGES, ...ARCHITECTURES[architecture].vmPackages] : []),
  ];
}

export interface InTreeOptions {
  log?: Log;
  /** Bind mounts: path in the tree to folder. The tree itself gets only empty mount points. */
  mounts?: Readonly<Record<string, string>>;
}

/** Runs a shell script in a tree with chroot, in new mount and pid namespaces. */
export function inTree(tree: string, script: string, options: InTreeOptions = {}): Promise<string> {
  return run(
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
}

const APT = 'apt-get -o Dpkg::Options::=--force-unsafe-io -y -q --no-install-recommends';

/**
 * Installs Debian into a folder. Needs root, because debootstrap creates device nodes and uses chroot. The programs of
 * another architecture run with QEMU's user mode, which must be registered on this machine (host-packages.ts).
 */
export async function buildTree(
  suite: Suite,
  architecture: Architecture,
  tree: string,
  mirror: string | undefined,
  log: Log,
): Promise<void> {
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
  const onLine = progress(suite, log);
  await inTree(tree, `${APT} install ${GUEST_PACKAGES.join(' ')}`, { log: onLine });
  if (isBuilder(suite, architecture)) {
    await inTree(
      tree,
      `sed -n 's/^deb \\([^ ]*\\) .*/\\1/p' /etc/apt/sources.list | head -n 1 |
         while read -r mirror; do echo "deb $mirror trixie-backports main" >/etc/apt/sources.list.d/backports.list; done
       apt-get -q update
       ${APT} install ${BUILD_PACKAGES.join(' ')}
       ${APT} install -t trixie-backports ${ARCHITECTURES[architecture].vmPackages.join(' ')}`,
      { log: onLine },
    );
  }
  // The modules of the kernel come from another disk, which is mounted here.
  await inTree(tree, 'apt-get clean; rm -rf /var/lib/apt/lists/*; mkdir -p /usr/lib/modules');
}

/** Everything that determines what `buildCrossTree` adds to the builder. These texts are part of the cache key. */
export function crossRecipe(architecture: Architecture): string[] {
  return ['1', ...ARCHITECTURES[architecture].compilerPackages];
}

/**
 * Copies the builder and installs a cross compiler. A copy, so that guests of the builder's architecture need no
 * rebuild.
 */
export async function buildCrossTree(
  builder: string,
  architecture: Architecture,
  tree: string,
  log: Log,
): Promise<void> {
  await run('cp', ['-a', `${builder}/.`, tree]);
  await inTree(
    tree,
    `apt-get -q update
     ${APT} install ${ARCHITECTURES[architecture].compilerPackages.join(' ')}
     apt-get clean; rm -rf /var/lib/apt/lists/*`,
    { log: progress(`builder for ${architecture}`, log) },
  );
}

const STEPS = /^(?:I: (?:Retrieving|Extracting|Configuring|Unpacking)|Setting up|Unpacking|Get:\d+) *(\S+)/;

/** Logs the progress of package tools, at most one line every 2 s. */
export function progress(name: string, log: Log): Log {
  let last = 0;
  return (line) => {
    if (!STEPS.test(line) || Date.now() - last < 2000) return;
    last = Date.now();
    log(`${name}: ${line.slice(0, 100)}`);
  };
}
