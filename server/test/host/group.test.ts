import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readGroupId } from '../../src/host/group.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';

test('a group is found by its name, a number needs no entry, and an unknown name has no number', async (t) => {
  const etc = await temporaryFolder(t);
  const lines = ['root:x:0:', 'tracer:x:998:alice,bob', 'tracer-old:x:997:', '+nis', 'broken:x::', ''];
  await writeFile(join(etc, 'group'), lines.join('\n'));
  const found = await Promise.all(
    ['root', 'tracer', '4711', 'trace', 'alice', 'broken', '+nis'].map((group) => readGroupId(group, etc)),
  );
  assert.deepEqual(found, [0, 998, 4711, null, null, null, null]);
  assert.equal(await readGroupId('root', join(etc, 'none')), null);
});
