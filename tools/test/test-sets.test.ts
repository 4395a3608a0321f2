import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { allTests, createReach, SETS, setOf, TEST_FOLDERS } from '../test-sets.mjs';

const REPOSITORY = join(import.meta.dirname, '../..');
const reach = createReach();
const tests = allTests();
/** Patterns of the modules that start programs of Debian, by set. */
const STARTS: Record<string, RegExp> = {
  browser: /playwright-core'/,
  terminal: /\('tmux',/,
  privileges: /\('strace',/,
  prometheus: /\.start\('prometheus|\('(promtool|jsonnet)',/,
};
const INSTALLS = /\bensurePackages\(\[|\bapt-get'/;
/** Test modules that a test file imports, directly or not. A test does not run the code of the lab and the tools. */
function ofTests(file: string): string[] {
  return [...reach(file)].filter(
    (path) => path.endsWith('.ts') && TEST_FOLDERS.some((folder) => path.startsWith(`${folder}/`)),
  );
}
function text(path: string): string {
  return readFileSync(join(REPOSITORY, path), 'utf8');
}
const self = 'tools/test/test-sets.test.ts';

test('every set has tests, and every test file is in a set', () => {
  assert.deepEqual([...new Set(tests.map(setOf))].sort(), Object.keys(SETS).sort());
  const run = spawnSync('git', ['ls-files', '--', '*.test.ts'], { cwd: REPOSITORY, encoding: 'utf8' });
  const tracked = run.stdout.split('\n').filter((file) => file !== '');
  assert.deepEqual(
    tracked.filter((file) => !tests.includes(file)),
    [],
    'these test files are in no test folder',
  );
});

test('a pure test imports no module that starts or installs a program of Debian', () => {
  for (const file of tests.filter((one) => setOf(one) === 'pure' && one !== self)) {
    for (const path of ofTests(file)) {
      for (const pattern of [INSTALLS, ...Object.values(STARTS)])
        assert.doesNotMatch(
          text(path),
          pattern,
          `${file} imports ${path}: move the test to the folder of its set`,
        );
    }
  }
});

test('a test of another set starts the program of that set, so that no pure test is in a slow set', () => {
  for (const file of tests) {
    const pattern = STARTS[setOf(file)];
    if (pattern === undefined) continue;
    assert.ok(
      ofTests(file).some((path) => pattern.test(text(path))),
      `${file} does not start the program of its set: move it to a pure folder`,
    );
  }
});

test('a module that is named in a string and run as a program counts as imported', () => {
  const reached = reach('server/test/e2e/cli.test.ts');
  for (const path of [
    'tools/build.mjs',
    'server/src/main.ts',
    'server/src/tracer/tracer.ts',
    'server/web/page.tsx',
  ])
    assert.ok(reached.has(path), path);
});
