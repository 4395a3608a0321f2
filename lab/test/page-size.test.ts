import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectedOn, stepOn } from '../src/page-size.ts';

test('sizes in a step are converted to the page size of the kernel, and other numbers stay', () => {
  const step = 'export=2,0:4096,12288:8192';
  assert.equal(stepOn('7.3', step), step);
  assert.equal(stepOn('7.3-arm64', step), step);
  assert.equal(stepOn('7.3-arm64-16k', step), 'export=2,0:16384,49152:32768');
  assert.equal(stepOn('7.3-arm64-16k', 'export=2,2048:100'), 'export=2,2048:100');
  assert.equal(stepOn('7.3-arm64-16k', 'device=0000:00:08.0'), 'device=0000:00:08.0');
});

test('sizes that a scenario expects are converted too', () => {
  const expected = { exports_total: 1, exported_bytes_total: 8192, kind: 'export', errno: 0 };
  assert.deepEqual(expectedOn('7.3', expected), expected);
  assert.deepEqual(expectedOn('7.3-arm64-16k', expected), { ...expected, exported_bytes_total: 32_768 });
});
