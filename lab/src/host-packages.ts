import { existsSync } from 'node:fs';
import { CommandError, hasCommand, run } from './shell.ts';

/** Debian packages and the command or file by which each is known to be there. */
const PACKAGES = {
  debootstrap: 'debootstrap',
  'qemu-system-x86': 'qemu-system-x86_64',
  e2fsprogs: 'mkfs.ext4',
  xz: 'xz',
  buildah: 'buildah',
  chromium: 'chromium',
} as const;
export type HostPackage = keyof typeof PACKAGES;

const APT_LOCK = '/var/lock/vfio-dmabuf-tracer-apt';

const packageName = (name: HostPackage): string => (name === 'xz' ? 'xz-utils' : name);

/** Installs with apt-get what of the packages is missing. Rejects with the command to give where it may not. */
export const ensurePackages = async (
  names: readonly HostPackage[],
  log: (line: string) => void,
): Promise<void> => {
  const missing: string[] = [];
  for (const name of names) {
    if (!(await hasCommand(PACKAGES[name]))) missing.push(packageName(name));
  }
  if (missing.length === 0) return;
  const remedy = `apt-get install --no-install-recommends ${missing.join(' ')}`;
  if (!existsSync('/usr/bin/apt-get')) {
    throw new CommandError(
      `missing: ${missing.join(', ')}; this machine has no apt-get to install them with`,
    );
  }
  if (process.getuid?.() !== 0) throw new CommandError(`missing: ${missing.join(', ')}; as root: ${remedy}`);
  log(`installing ${missing.join(', ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  // Test files run beside each other, and apt does not wait for itself.
  const apt = (...args: string[]) => run('flock', [APT_LOCK, 'apt-get', ...args], { env });
  await apt('update', '-q');
  await apt('install', '-y', '-q', '--no-install-recommends', ...missing);
};

/** The mirror of Debian that this machine's apt is set to, or none (debootstrap then takes its default). */
export const debianMirror = async (): Promise<string | undefined> => {
  if (!(await hasCommand('apt-get'))) return undefined;
  const targets = await run('apt-get', [
    'indextargets',
    '--format',
    '$(SITE) $(ORIGIN) $(LABEL) $(COMPONENT)',
  ]).catch(() => '');
  const line = targets.split('\n').find((target) => / Debian Debian main$/.test(target));
  return line?.split(' ')[0];
};
