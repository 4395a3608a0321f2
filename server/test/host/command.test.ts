import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { findBpftrace } from '../../src/bpftrace/installed.ts';
import { failureOf, runCommand } from '../../src/host/command.ts';
import { readStat } from '../../src/host/proc.ts';
import { eventually } from '../fixtures/eventually.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';

const searchPath = process.env.PATH ?? '';

async function script(t: TestContext, text: string): Promise<string> {
  const path = join(await temporaryFolder(t), 'command');
  await writeFile(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  return path;
}

async function assertEnds(pid: number): Promise<void> {
  await eventually(async () => assert.equal(await readStat('/proc', pid), null, `process ${pid} still runs`));
}

test('a helper command gets only PATH from the environment of the tracer', async (t) => {
  process.env.COMMAND_TEST_SECRET = 'x';
  t.after(() => delete process.env.COMMAND_TEST_SECRET);
  const result = await runCommand(await script(t, 'env'), [], { searchPath, timeoutMs: 60_000 });
  const names = result.stdout
    .trim()
    .split('\n')
    .map((line) => line.split('=')[0]);
  // The shell adds the last three itself.
  const allowed = ['PATH', 'LC_ALL', 'PWD', 'SHLVL', '_'];
  assert.deepEqual(
    names.filter((name) => name === undefined || !allowed.includes(name)),
    [],
  );
  assert.ok(names.includes('PATH'));
});

test('a helper command that hangs is killed together with its children', async (t) => {
  const folder = await temporaryFolder(t);
  const pids = join(folder, 'pids');
  const path = await script(t, `sleep 600 & echo $! $$ > ${pids}.new; mv ${pids}.new ${pids}; wait`);
  // A busy machine may not start the command within the first limit.
  let timeoutMs = 500;
  do {
    timeoutMs *= 2;
    const result = await runCommand(path, ['--version'], { searchPath, timeoutMs });
    assert.equal(failureOf(result, timeoutMs), `it did not end within ${timeoutMs / 1000} s`);
  } while (!existsSync(pids) && timeoutMs < 60_000);
  for (const pid of readFileSync(pids, 'utf8').trim().split(' ')) await assertEnds(Number(pid));
  const found = await findBpftrace({ command: path, searchPath, timeoutMs: 100 });
  assert.match('message' in found ? found.message : '', /cannot be run: it did not end within 0\.1 s/);
});

test('a process that a helper command leaves running is killed, and its pipes are not waited for', async (t) => {
  const path = await script(t, 'sleep 600 & echo $!');
  const result = await runCommand(path, [], { searchPath, timeoutMs: 60_000 });
  assert.equal(result.code, 0);
  await assertEnds(Number(result.stdout));
});

test('the failure of a command is described with its output, and the output is limited', async (t) => {
  const options = { searchPath, timeoutMs: 60_000 };
  const failure = async (text: string) =>
    failureOf(await runCommand(await script(t, text), [], options), 60_000);
  assert.equal(await failure('exit 0'), null);
  assert.equal(await failure('exit 7'), 'it exited with 7');
  assert.equal(await failure('echo out; echo why >&2; exit 7'), 'it exited with 7: why');
  assert.equal(await failure('echo why; exit 7'), 'it exited with 7: why');
  assert.equal(await failure('kill -TERM $$'), 'it was killed by SIGTERM');
  assert.match(
    (await failureOf(await runCommand('/nonexistent', [], options), 1)) ?? '',
    /not be started: .*ENOENT/,
  );
  assert.match(
    (await failureOf(await runCommand('/etc/passwd', [], options), 1)) ?? '',
    /not be started: .*EACCES/,
  );
  const flood = await runCommand(await script(t, 'head -c 1000000 /dev/zero | tr "\\0" x'), [], options);
  assert.ok(flood.stdout.length <= 4096);
});
