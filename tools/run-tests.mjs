// node tools/run-tests.mjs SET|FOLDER|FILE|!FOLDER... [--OPTION=VALUE...]: runs the tests of these sets, folders and
// files with node's test runner, without those below a !FOLDER. Options go to node; --test-name-pattern=TEXT selects
// tests by name. On Node 20 `node --test` without files passes without running a test. So this script makes the list,
// and an empty list fails.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { repository } from './setup.mjs';
import { allTests, createReach, SETS, setOf, testsBelow } from './test-sets.mjs';

/**
 * Two test processes for each core of a small machine, because many tests wait for timers and for programs that they
 * start.
 */
const CONCURRENCY = 4;
/** Processes that run several files. Each loads tsx, the modules and the schemas, which takes seconds of CPU. */
const SHARED_PROCESSES = 2;
/** For a process with a blocked event loop, which cannot detect a hanging test itself (test-group.mjs). */
const TIMEOUT_MS = 3_600_000;

const args = process.argv.slice(2);
const options = args.filter((arg) => arg.startsWith('--'));
const wanted = args.filter((arg) => !/^(--|!)/.test(arg));
const left = args
  .filter((arg) => arg.startsWith('!'))
  .map((arg) => relative(repository, resolve(arg.slice(1))));

const ofArgument = (arg) => {
  if (arg in SETS) return allTests().filter((file) => setOf(file) === arg);
  const path = relative(repository, resolve(arg));
  if (existsSync(arg)) return statSync(arg).isFile() ? [path] : testsBelow(path);
  console.error(`${arg} does not exist: name a set (${Object.keys(SETS).join(', ')}), a folder or a file`);
  process.exit(2);
};
const files = [...new Set(wanted.flatMap(ofArgument))]
  .filter((file) => !left.some((path) => file === path || file.startsWith(`${path}/`)))
  .sort();
if (files.length === 0) {
  console.error(`no *.test.ts below ${wanted.join(', ') || '(nothing given)'}: nothing would be tested`);
  process.exit(1);
}

const reach = createReach();
const PROGRAM = 'server/test/e2e/program.ts';
const isBuilt = (file) => reach(file).has(PROGRAM);
/**
 * Pure files that run in their own process. The first `WAITING` ones mostly wait and start early; the others start many
 * programs.
 */
const WAITING = 2;
const ALONE = [
  'server/test/collector/supervisor.test.ts',
  'server/test/cli/simulate.test.ts',
  'server/test/e2e/cli.test.ts',
  'server/test/e2e/collect.test.ts',
  'server/test/e2e/run.test.ts',
  'server/test/replay/recordings.test.ts',
  'tools/test/build.test.ts',
  'tools/test/package.test.ts',
];
const isAlone = (file) => setOf(file) !== 'pure' || ALONE.includes(file);
const alone = files.filter(isAlone);
const shared = files.filter((file) => !isAlone(file));
// Files next to each other in the list share a process, because they share modules.
const size = Math.ceil(shared.length / SHARED_PROCESSES);
const together = Array.from({ length: SHARED_PROCESSES }, (_, index) =>
  shared.slice(index * size, (index + 1) * size),
).filter((group) => group.length > 0);
const by = (wanted) => wanted.filter((file) => alone.includes(file)).map((file) => [file]);
// The longest first, so that no long file runs alone at the end.
const LONGEST_FIRST = ['load', 'browser', 'terminal', 'privileges', 'prometheus'];
const groups = [
  ...LONGEST_FIRST.flatMap((set) => by(alone.filter((file) => setOf(file) === set))),
  ...by(ALONE.slice(0, WAITING)),
  ...together,
  ...by(ALONE.slice(WAITING)),
];
const grouped = groups.flat().length;
if (grouped !== files.length) throw new Error(`${grouped} of ${files.length} test files would run`);

const own = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-tracer-tests-'));
// The server of `run` is another user if the tests run as root.
chmodSync(own, 0o755);
process.once('exit', () => rmSync(own, { recursive: true, force: true }));
const env = { ...process.env };
// One build for all files that run the program.
if (files.some(isBuilt)) {
  const dist = join(own, 'dist');
  const build = spawnSync(process.execPath, ['tools/build.mjs', dist], {
    cwd: repository,
    stdio: 'inherit',
  });
  if (build.status !== 0) process.exit(build.status ?? 1);
  env.TRACER_TEST_DIST = dist;
}
const module = JSON.stringify(pathToFileURL(join(repository, 'tools/test-group.mjs')).href);
const entries = groups.map((group, index) => {
  const entry = join(own, `${String(index).padStart(2, '0')}.test.mjs`);
  writeFileSync(entry, `import { runGroup } from ${module};\nrunGroup(${JSON.stringify(group)});\n`);
  return entry;
});
const flags = ['--import', 'tsx', '--import', pathToFileURL(join(repository, 'tools/test-setup.mjs')).href];
// A single process needs no runner: it prints its report itself.
const runner =
  entries.length === 1 ? [] : ['--test', `--test-concurrency=${CONCURRENCY}`, `--test-timeout=${TIMEOUT_MS}`];
// A terminal gets node's own report, which also ends with the failed tests.
const report = process.stdout.isTTY ? [] : [`--test-reporter=${join(repository, 'tools/test-reporter.mjs')}`];
const run = spawnSync(process.execPath, [...flags, ...runner, ...report, ...options, ...entries], {
  cwd: repository,
  stdio: 'inherit',
  env,
  ...(entries.length === 1 ? { timeout: TIMEOUT_MS, killSignal: 'SIGKILL' } : {}),
});
process.exit(run.status ?? 1);
