import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensurePackages } from '../lab/src/host-packages.ts';
import { run } from '../lab/src/shell.ts';
import { VERSION } from '../server/src/lib/package-version.ts';

const REPOSITORY = join(import.meta.dirname, '..');
const NAME = 'vfio-dmabuf-tracer';

/** The file name of the package of a version. */
export function packageName(version: string): string {
  return `${NAME}_${version}_all.deb`;
}

/**
 * Builds the Debian package of dist/ with debhelper; returns its path. The same commit gives the same bytes.
 *
 * @param into folder for the package
 * @throws CommandError if debhelper fails, or if the repository is not a git clone
 */
export async function buildDebianPackage(into: string, log: (line: string) => void): Promise<string> {
  await ensurePackages(['debhelper', 'help2man'], log);
  const own = mkdtempSync(join(tmpdir(), `${NAME}-debian-`));
  try {
    const source = join(own, 'source');
    for (const path of ['dist', 'deploy', 'CHANGELOG.md'])
      cpSync(join(REPOSITORY, path), join(source, path), { recursive: true });
    cpSync(join(source, 'deploy/debian'), join(source, 'debian'), { recursive: true });
    const [, maintainer] =
      /^Maintainer: (.*)$/m.exec(readFileSync(join(source, 'debian/control'), 'utf8')) ?? [];
    // Also the time of all files in the package.
    const date = await run('git', ['-C', REPOSITORY, 'log', '-1', '--format=%cD']);
    writeFileSync(
      join(source, 'debian/changelog'),
      `${NAME} (${VERSION}) unstable; urgency=medium

  * See /usr/share/doc/${NAME}/CHANGELOG.md.gz.

 -- ${maintainer}  ${date}`,
    );
    await run('make', ['-f', 'debian/rules', 'binary'], { cwd: source });
    const file = packageName(VERSION);
    mkdirSync(into, { recursive: true });
    cpSync(join(own, file), join(into, file));
    return join(into, file);
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}
