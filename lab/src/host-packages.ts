import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandError, hasCommand, run } from './shell.ts';

/** Debian packages, and for each a command that exists if it is installed. */
const PACKAGES = {
  debootstrap: 'debootstrap',
  'qemu-system-x86': 'qemu-system-x86_64',
  'qemu-system-arm': 'qemu-system-aarch64',
  'qemu-user-static': 'qemu-aarch64-static',
  'binfmt-support': 'update-binfmts',
  e2fsprogs: 'mkfs.ext4',
  xz: 'xz',
  zstd: 'zstd',
  buildah: 'buildah',
  debhelper: 'dh',
  help2man: 'help2man',
  lintian: 'lintian',
  strace: 'strace',
  tmux: 'tmux',
  // Contains promtool too.
  prometheus: 'prometheus',
  'prometheus-alertmanager': 'prometheus-alertmanager',
  jsonnet: 'jsonnet',
  chromium: 'chromium',
} as const;
export type HostPackage = keyof typeof PACKAGES;

function packageName(name: HostPackage): string {
  return name === 'xz' ? 'xz-utils' : name;
}

/**
 * Runs under a lock, because tests that run in parallel may need the same packages. Maintainer scripts ask policy-rc.d
 * whether they may start their service, and 101 forbids it. An existing policy-rc.d is left unchanged. The services are
 * also disabled at boot.
 */
const INSTALL = `
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\\nexit 101\\n' > $policy
  chmod 755 $policy
  trap 'rm -f $policy' EXIT
fi
apt-get update -q && apt-get install -y -q --no-install-recommends "$@" || exit
for package; do systemctl disable --quiet "$package" 2>/dev/null || true; done`;

/** Installs missing packages with apt-get. @throws CommandError if it cannot: not root, or no apt-get. */
export async function ensurePackages(
  names: readonly HostPackage[],
  log: (line: string) => void,
): Promise<void> {
  const missing: string[] = [];
  for (const name of names) {
    if (!(await hasCommand(PACKAGES[name]))) missing.push(packageName(name));
  }
  if (missing.length === 0) return;
  const remedy = `apt-get install --no-install-recommends ${missing.join(' ')}`;
  if (!existsSync('/usr/bin/apt-get')) {
    throw new CommandError(
      `missing: ${missing.join(', ')}; this machine has no apt-get, so install them yourself`,
    );
  }
  if (process.getuid?.() !== 0)
    throw new CommandError(`missing: ${missing.join(', ')}; run as root: ${remedy}`);
  log(`installing ${missing.join(', ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const lock = join(tmpdir(), 'vfio-dmabuf-tracer-packages.lock');
  await run('flock', [lock, 'sh', '-c', INSTALL, 'sh', ...missing], { env });
}

/** The Debian mirror of this machine's apt; undefined if there is none, and debootstrap then uses its default. */
export async function debianMirror(): Promise<string | undefined> {
  if (!(await hasCommand('apt-get'))) return undefined;
  const targets = await run('apt-get', [
    'indextargets',
    '--format',
    '$(SITE) $(ORIGIN) $(LABEL) $(COMPONENT)',
  ]).catch(() => '');
  const line = targets.split('\n').find((target) => / Debian Debian main$/.test(target));
  return line?.split(' ')[0];
}

const BINFMT = '/proc/sys/fs/binfmt_misc';

/** Lets this machine run programs of another architecture (Debian's name) with QEMU's user mode, for trees that are built here. */
export async function ensureProgramsOf(architecture: string, log: (line: string) => void): Promise<void> {
  if (architecture !== 'arm64' || process.arch === 'arm64') return;
  await ensurePackages(['qemu-user-static', 'binfmt-support'], log);
  if (existsSync(`${BINFMT}/qemu-aarch64`)) return;
  if (!existsSync(`${BINFMT}/register`)) await run('mount', ['-t', 'binfmt_misc', 'binfmt_misc', BINFMT]);
  if (!existsSync(`${BINFMT}/qemu-aarch64`)) await run('update-binfmts', ['--enable', 'qemu-aarch64']);
}
