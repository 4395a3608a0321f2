import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { didYouMean, editDistance, nearest } from '../../src/lib/suggest.ts';

test('the nearest known word is suggested', () => {
  assert.equal(nearest('--strct', ['--strict', '--print']), '--strict');
  assert.equal(
    nearest('web.listen-adress', ['web.listen-address', 'web.telemetry-path']),
    'web.listen-address',
  );
  assert.equal(nearest('rnu', ['run', 'record']), 'run');
});

test('a word that is far from all known words gets no suggestion', () => {
  assert.equal(nearest('foo', ['flr', 'reset']), undefined);
  assert.equal(nearest('--color', ['--strict', '--print']), undefined);
  assert.equal(didYouMean('zebra', ['run', 'probes']), 'known: run, probes');
});

test('the distance is a metric: zero for equals, the same both ways, never more than the longer word', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
      const distance = editDistance(a, b);
      assert.equal(distance, editDistance(b, a));
      assert.equal(distance === 0, a === b);
      assert.ok(distance <= Math.max(a.length, b.length));
      assert.ok(distance >= Math.abs(a.length - b.length));
    }),
  );
});
