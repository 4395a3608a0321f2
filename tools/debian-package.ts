import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensurePackages } from '../lab/src/host-packages.ts';
import { run } from '../lab/src/shell.ts';

const REPOSITORY = join(import.meta.dirname, '..');
const NAME = 'vfio-dmabuf-tracer';

export interface PackageOptions {
  /** The built program. */
  dist: string;
  version: string;
  /** Folder for the package. */
  into: string;
  log: (line: string) => void;
}

/**
 * Builds the Debian package of a built program with debhelper; returns its path. The same commit gives the same bytes.
 * @throws CommandError if debhelper fails, or if the repository is not a git clone.
 */
export async function buildDebianPackage({ dist, version, into, log }: PackageOptions): Promise<string> {
  await ensurePackages(['debhelper', 'help2man'], log);
  const own = mkdtempSync(join(tmpdir(), `${NAME}-debian-`));
  try {
    const source = join(own, 'source');
    cpSync(dist, join(source, 'dist'), { recursive: true });
    for (const path of ['deploy', 'CHANGELOG.md'])
      cpSync(join(REPOSITORY, path), join(source, path), { recursive: true });
    cpSync(join(source, 'deploy/debian'), join(source, 'debian'), { recursive: true });
    const [, maintainer] =
      /^Maintainer: (.*)$/m.exec(readFileSync(join(source, 'debian/control'), 'utf8')) ?? [];
    // Also the time of all files in the package.
    const date = await run('git', ['-C', REPOSITORY, 'log', '-1', '--format=%cD']);
    writeFileSync(
      join(source, 'debian/changelog'),
      `${NAME} (${version}) unstable; urgency=medium

  * See /usr/share/doc/${NAME}/CHANGELOG.md.gz.

 -- ${maintainer}  ${date}`,
    );
    await run('make', ['-f', 'debian/rules', 'binary'], { cwd: source });
    const file = `${NAME}_${version}_all.deb`;
    mkdirSync(into, { recursive: true });
    cpSync(join(own, file), join(into, file));
    return join(into, file);
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}
