// Runs every *.test.ts below the given folders, and the given files, but those below a folder given as !FOLDER, with node's own runner. `node --test` without files
// passes on Node 20 after running nothing, so the list is made here and an empty list fails.
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const args = process.argv.slice(2);
const roots = args.filter((arg) => !arg.startsWith('!'));
const left = args.filter((arg) => arg.startsWith('!')).map((arg) => `${arg.slice(1)}/`);
const testsBelow = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.ts'))
    .map((entry) => join(entry.parentPath, entry.name));
const files = roots
  .flatMap((root) => (statSync(root).isFile() ? [root] : testsBelow(root)))
  .filter((file) => !left.some((folder) => file.startsWith(folder)))
  .sort();
if (files.length === 0) {
  console.error(`no *.test.ts below ${roots.join(', ') || '(no folder given)'}: nothing would be tested`);
  process.exit(1);
}
// A test that hangs fails, and does not hold up what waits for the result.
const flags = ['--import', 'tsx', '--test', '--test-timeout=180000'];
const run = spawnSync(process.execPath, [...flags, ...files], { stdio: 'inherit' });
process.exit(run.status ?? 1);
