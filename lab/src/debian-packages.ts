import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VERSION } from '../../server/src/lib/package-version.ts';
import { buildDebianPackage, packageName } from '../../tools/debian-package.ts';
import { run } from './shell.ts';

/** The version of the package that a trial upgrades to. */
export const NEXT_VERSION = '99.0.0';

/** Edits the version in a package and in its program: script FILE FOLDER. */
const MAKE_NEXT = `
tree=$2/next
dpkg-deb --raw-extract "$1" "$tree"
sed -i 's/^Version: .*/Version: ${NEXT_VERSION}/' "$tree/DEBIAN/control"
sed -i 's/version:"${VERSION}"/version:"${NEXT_VERSION}"/' "$tree"/usr/lib/vfio-dmabuf-tracer/chunks/*
dpkg-deb --build --root-owner-group "$tree" "$2"`;

/** Calls a function with the Debian packages of the built program and of the next version. They exist during the call. */
export async function withDebianPackages<T>(
  action: (files: string[]) => Promise<T>,
  log: (line: string) => void,
): Promise<T> {
  const into = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-packages-'));
  try {
    const file = await buildDebianPackage(into, log);
    await run('sh', ['-euc', MAKE_NEXT, 'sh', file, into]);
    return await action([file, join(into, packageName(NEXT_VERSION))]);
  } finally {
    rmSync(into, { recursive: true, force: true });
  }
}
