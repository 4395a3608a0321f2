// Prepares the repository for its commands: installs the packages of package-lock.json and, on request, builds the
// program. Needs only Node and npm.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const repository = dirname(dirname(fileURLToPath(import.meta.url)));

/** Runs a command in the repository on this terminal. If it fails, exits with its status. */
export const must = (command, args) => {
  const { status, signal, error } = spawnSync(command, args, { cwd: repository, stdio: 'inherit' });
  if (status === 0) return;
  console.error(`failed: ${command} ${args.join(' ')}: ${error?.message ?? signal ?? `exit ${status}`}`);
  process.exit(status ?? 1);
};

/** Installs the packages if they are missing or do not match the lock file. */
export const ensurePackages = () => {
  const lock = readFileSync(join(repository, 'package-lock.json'), 'utf8');
  const mark = join(repository, 'node_modules/.installed-lock');
  if (existsSync(mark) && readFileSync(mark, 'utf8') === lock) return;
  console.log('installing packages (npm ci)');
  must('npm', ['ci', '--no-audit', '--no-fund']);
  writeFileSync(mark, lock);
};

/** Builds dist/; takes about a second. */
export const build = () => must(process.execPath, ['tools/build.mjs']);

/**
 * Runs a TypeScript file of the repository and returns its exit status. Ignores SIGINT, so that the child handles
 * Ctrl-C.
 */
export const runTypeScript = (file, args) => {
  process.on('SIGINT', () => {});
  const { status } = spawnSync(process.execPath, ['--import', 'tsx', file, ...args], {
    cwd: repository,
    stdio: 'inherit',
  });
  return status ?? 1;
};
