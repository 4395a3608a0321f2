import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { numbersOf, quiesceCpus } from '../../src/host/processors.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';

test('a list of processors is parsed in the format of sysfs', () => {
  assert.deepEqual(numbersOf('0\n'), [0]);
  assert.deepEqual(numbersOf('0-3,8,10-11\n'), [0, 1, 2, 3, 8, 10, 11]);
  assert.deepEqual(numbersOf('\n'), []);
});

test('online processors are visited, and those that cannot be visited are counted', async (t) => {
  assert.equal(await quiesceCpus('/sys'), 0);
  const sysRoot = await temporaryFolder(t);
  assert.equal(await quiesceCpus(sysRoot), 1);
  await mkdir(join(sysRoot, 'devices/system/cpu'), { recursive: true });
  await writeFile(join(sysRoot, 'devices/system/cpu/online'), '0,100000-100001\n');
  assert.equal(await quiesceCpus(sysRoot), 2);
});
