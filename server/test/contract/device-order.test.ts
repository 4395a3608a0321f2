import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byDevice } from '../../src/contract/device-order.ts';

test('PCI addresses are sorted by their numbers, not as text', () => {
  const addresses = ['unknown', '10001:8a:00.0', '2000:01:00.0', '0000:41:00.0', '2000:01:00.0'];
  assert.deepEqual(addresses.sort(byDevice), [
    '0000:41:00.0',
    '2000:01:00.0',
    '2000:01:00.0',
    '10001:8a:00.0',
    'unknown',
  ]);
});
