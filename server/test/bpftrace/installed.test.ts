import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { findBpftrace, parseVersion } from '../../src/bpftrace/installed.ts';
import { fakeBpftrace, temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';

test('a version is parsed from the output of bpftrace', () => {
  const cases: [string, number[] | null][] = [
    ['bpftrace v0.23.2\n', [0, 23, 2]],
    ['bpftrace v0.24.1-5-gdeadbeef', [0, 24, 1]],
    ['bpftrace 0.27', [0, 27, 0]],
    ['WARNING: something\nbpftrace v0.27.1', [0, 27, 1]],
    ['bpftrace', null],
    ['', null],
  ];
  for (const [output, expected] of cases) assert.deepEqual(parseVersion(output), expected, output);
});

test('bpftrace is found by path and by name, if its version is supported', async (t) => {
  const path = await fakeBpftrace(t, 'normal');
  const searchPath = `/nonexistent:${dirname(path)}`;
  const expected = { path, version: '0.23.2', parts: [0, 23, 2] };
  assert.deepEqual(await findBpftrace({ command: path, searchPath: '' }), expected);
  assert.deepEqual(await findBpftrace({ command: 'bpftrace', searchPath }), expected);
  for (const version of ['0.22.1', '0.9.4', '1.0.0']) {
    const found = await findBpftrace({ command: await fakeBpftrace(t, 'version', version), searchPath: '' });
    assert.equal('reason' in found ? found.reason : '', 'unsupported_bpftrace', version);
  }
  const odd = await findBpftrace({ command: await fakeBpftrace(t, 'version', 'next'), searchPath: '' });
  assert.ok('reason' in odd && odd.reason === 'unsupported_bpftrace' && odd.remedy !== '');
});

test('a bpftrace that does not exist or cannot be run is reported as no_bpftrace', async (t) => {
  const folder = await temporaryFolder(t);
  for (const command of ['bpftrace', join(folder, 'bpftrace'), folder]) {
    const found = await findBpftrace({ command, searchPath: folder });
    assert.equal('reason' in found ? found.reason : '', 'no_bpftrace', command);
  }
});
