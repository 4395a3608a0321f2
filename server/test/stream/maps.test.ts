import assert from 'node:assert/strict';
import { test } from 'node:test';
import { splitKey, unpackName } from '../../src/stream/maps.ts';
import { packName } from '../fixtures/stream-lines.ts';

for (const name of ['kvm', 'iommu', 'mlx5_core', '0000:41:00.0', 'sixteen-bytes-ok', 'é', '']) {
  test(`unpacks the importer name ${JSON.stringify(name)}`, () => {
    const [word0, word1] = splitKey(packName(name));
    assert.equal(unpackName(word0 ?? '', word1 ?? ''), name);
  });
}

test('takes a word that was printed as a signed number', () => {
  assert.equal(unpackName('-1', '0'), '\ufffd'.repeat(8));
});

test('cuts a name at its first NUL', () => {
  const word = Buffer.from('ab\0cdefg').readBigUInt64LE(0);
  assert.equal(unpackName(String(word), '7'), 'ab');
});
