import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../server/test/fixtures/fake-bpftrace/fake-bpftrace.ts';

test('a report ends with the failed tests and the summary, and leaves passed tests out', async (t) => {
  const folder = await temporaryFolder(t);
  writeFileSync(
    join(folder, 'fails.test.mjs'),
    `import { describe, test } from 'node:test';
     describe('a suite', () => {
       test('passes', () => {});
       test('fails', () => { throw new Error('with this reason'); });
     });`,
  );
  writeFileSync(join(folder, 'broken.test.mjs'), `throw new Error('does not load');`);
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { stdout, status } = spawnSync(
    process.execPath,
    [
      '--test',
      '--test-reporter=./tools/test-reporter.mjs',
      join(folder, 'fails.test.mjs'),
      join(folder, 'broken.test.mjs'),
    ],
    { encoding: 'utf8', env },
  );
  assert.equal(status, 1);
  assert.ok(!stdout.includes('- passes'), stdout);
  const end = stdout.slice(stdout.indexOf('1..2'));
  assert.match(end, /^# failed: a suite > fails\n# Error: with this reason$/m);
  assert.match(end, /^# failed: .*broken\.test\.mjs$/m);
  assert.match(end, /^# tests 3\n# suites 1\n# pass 1\n# fail 2$/m);
});
