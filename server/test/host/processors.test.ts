import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
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
  await mkdir(join(sysRoot, 'devices/system/cpu'), { recursive: true });
  await writeFile(join(sysRoot, 'devices/system/cpu/online'), '0,100000-100001\n');
  assert.equal(await quiesceCpus(sysRoot), 2);
});

test('without a list of the processors, each one that Node knows counts as not visited', async (t) => {
  const sysRoot = await temporaryFolder(t);
  const errors: string[] = [];
  const options = { onError: (error: unknown) => errors.push(String(error)) };
  assert.equal(await quiesceCpus(sysRoot, options), cpus().length);
  await mkdir(join(sysRoot, 'devices/system/cpu'), { recursive: true });
  await writeFile(join(sysRoot, 'devices/system/cpu/online'), '\n');
  assert.equal(await quiesceCpus(sysRoot, options), cpus().length);
  assert.match(errors[0] ?? '', /ENOENT/);
  assert.match(errors[1] ?? '', /list of online processors is empty/);
});
