import assert from 'node:assert/strict';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { findExecutable } from '../../src/bpftrace/installed.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';

const isRoot = process.getuid?.() === 0;

test('a folder of PATH that this user cannot search is skipped, and a path in it is not', {
  skip: !isRoot,
}, async (t) => {
  const folder = await temporaryFolder(t);
  const [closed, open] = [join(folder, 'closed'), join(folder, 'open')];
  for (const path of [closed, open]) {
    await mkdir(path);
    await writeFile(join(path, 'tool'), '', { mode: 0o755 });
  }
  await chmod(folder, 0o755);
  await chmod(closed, 0o700);
  process.seteuid?.(65534);
  try {
    assert.equal(await findExecutable('tool', `${closed}:${open}`), join(open, 'tool'));
    assert.equal(await findExecutable('tool', closed), null);
    assert.equal(await findExecutable(join(closed, 'tool'), ''), join(closed, 'tool'));
  } finally {
    process.seteuid?.(0);
  }
});
