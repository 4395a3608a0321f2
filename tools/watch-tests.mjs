// npm run test:watch: after a file is saved, runs the pure tests that it can affect. For a module these are the test
// files that use it. For any other file below `FOLDERS` (a probe, a recording, a page of the docs) these are all pure
// tests, because any may read it.
import { spawn } from 'node:child_process';
import { watch } from 'node:fs';
import { join, relative } from 'node:path';
import { repository } from './setup.mjs';
import { allTests, createReach, setOf } from './test-sets.mjs';

const FOLDERS = ['server', 'lab', 'tools', 'dashboards', 'probes', 'docs', 'recordings'];
/** An editor writes a file in several operations, and a branch switch writes many files. */
const SETTLE_MS = 150;
const MODULE = /\.(ts|tsx|mjs)$/;

const pure = () => allTests().filter((file) => setOf(file) === 'pure');

const affectedBy = (changed) => {
  const tests = pure();
  if (changed.some((path) => !MODULE.test(path))) return tests;
  const reach = createReach();
  return tests.filter((file) => {
    const reached = reach(file);
    return changed.some((path) => reached.has(path));
  });
};

const changed = new Set();
let timer;
let running;

const run = () => {
  if (running !== undefined) return;
  const paths = [...changed];
  changed.clear();
  const files = affectedBy(paths);
  console.log(`\n##### ${paths.join(', ')}: ${files.length} test ${files.length === 1 ? 'file' : 'files'}\n`);
  if (files.length === 0) return;
  const pass = files.length === pure().length ? ['pure'] : files;
  running = spawn(process.execPath, ['tools/run-tests.mjs', ...pass], { cwd: repository, stdio: 'inherit' });
  running.once('close', (status) => {
    running = undefined;
    console.log(`\n##### ${status === 0 ? 'passed' : 'FAILED'}; waiting for a change\n`);
    if (changed.size > 0) run();
  });
};

for (const folder of FOLDERS) {
  watch(join(repository, folder), { recursive: true }, (_event, name) => {
    const path = relative(repository, join(repository, folder, name ?? ''));
    // Ignore builds, and hidden and temporary files of editors.
    if (/(^|\/)(\.|node_modules\/|dist\/|lab-out\/)|~$|\.sw.$/.test(path)) return;
    changed.add(path);
    clearTimeout(timer);
    timer = setTimeout(run, SETTLE_MS);
  });
}
console.log('waiting for a change of a file; Ctrl-C stops');
