// Builds the Debian package of dist/ in packages/, and checks it with lintian.
import { join } from 'node:path';
import { ensurePackages } from '../lab/src/host-packages.ts';
import { log } from '../lab/src/progress.ts';
import { CommandError, run } from '../lab/src/shell.ts';
import { buildDebianPackage } from './debian-package.ts';

try {
  const file = await buildDebianPackage(join(import.meta.dirname, '../packages'), log);
  log(`built ${file}`);
  await ensurePackages(['lintian'], log);
  const tags = await run('lintian', ['--fail-on', 'error,warning', '--tag-display-limit', '0', file]);
  if (tags.trim() !== '') throw new CommandError(tags);
  log('ok      lintian has no errors and no warnings');
} catch (error) {
  console.error(`deb: FAILED: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
