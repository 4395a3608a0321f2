// Builds the Debian package of dist/ in packages/, and checks it with lintian.
import { join } from 'node:path';
import { ensurePackages } from '../lab/src/host-packages.ts';
import { CommandError, run } from '../lab/src/shell.ts';
import { VERSION } from '../server/src/lib/package-version.ts';
import { buildDebianPackage } from './debian-package.ts';

const REPOSITORY = join(import.meta.dirname, '..');

const started = Date.now();
function log(line: string): void {
  console.log(`${String(Math.round((Date.now() - started) / 1000)).padStart(4)} s  ${line}`);
}

try {
  const file = await buildDebianPackage({
    dist: join(REPOSITORY, 'dist'),
    version: VERSION,
    into: join(REPOSITORY, 'packages'),
    log,
  });
  log(`built ${file}`);
  await ensurePackages(['lintian'], log);
  const tags = await run('lintian', ['--fail-on', 'error,warning', '--tag-display-limit', '0', file]);
  if (tags.trim() !== '') throw new CommandError(tags);
  log('ok      lintian has no errors and no warnings');
} catch (error) {
  console.error(`deb: FAILED: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
