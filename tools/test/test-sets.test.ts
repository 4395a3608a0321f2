import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { allTests, createReach, SETS, setOf, TEST_FOLDERS } from '../test-sets.mjs';

const REPOSITORY = join(import.meta.dirname, '../..');
const reach = createReach();
const tests = allTests();
/** Programs of Debian that a module starts by these words, or through the helper that installs them. */
const STARTS: Record<string, RegExp> = {
  browser: /playwright-core'/,
  terminal: /\('tmux',/,
  prometheus: /\.start\('prometheus|\('(promtool|jsonnet)',/,
};
const INSTALLS = /\bensurePackages\(\[|\bapt-get'/;
/** Modules of the tests that a test file reaches. What the lab and the tools do by themselves is not run by a test. */
const ofTests = (file: string): string[] =>
  [...reach(file)].filter(
    (path) => path.endsWith('.ts') && TEST_FOLDERS.some((folder) => path.startsWith(`${folder}/`)),
  );
const text = (path: string): string => readFileSync(join(REPOSITORY, path), 'utf8');
const self = 'tools/test/test-sets.test.ts';

test('every set has tests, and every test file is in a set', () => {
  assert.deepEqual([...new Set(tests.map(setOf))].sort(), Object.keys(SETS).sort());
  const run = spawnSync('git', ['ls-files', '--', '*.test.ts'], { cwd: REPOSITORY, encoding: 'utf8' });
  const tracked = run.stdout.split('\n').filter((file) => file !== '');
  assert.deepEqual(
    tracked.filter((file) => !tests.includes(file)),
    [],
    'no test folder has it',
  );
});

test('a pure test reaches no module that starts or installs a program of Debian', () => {
  for (const file of tests.filter((one) => setOf(one) === 'pure' && one !== self)) {
    for (const path of ofTests(file)) {
      for (const pattern of [INSTALLS, ...Object.values(STARTS)])
        assert.doesNotMatch(text(path), pattern, `${file} reaches ${path}: move it to the folder of its set`);
    }
  }
});

test('a test of another set reaches what the set is for, so that no pure test waits in a slow set', () => {
  for (const file of tests) {
    const pattern = STARTS[setOf(file)];
    if (pattern === undefined) continue;
    assert.ok(
      ofTests(file).some((path) => pattern.test(text(path))),
      `${file} starts nothing of its set: it is pure`,
    );
  }
});

test('a module is reached also where a string names it and a program runs it', () => {
  const reached = reach('server/test/e2e/cli.test.ts');
  for (const path of [
    'tools/build.mjs',
    'server/src/main.ts',
    'server/src/model/model.ts',
    'server/web/page.tsx',
  ])
    assert.ok(reached.has(path), path);
});
