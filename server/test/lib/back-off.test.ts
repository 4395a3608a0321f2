import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BackOff } from '../../src/lib/back-off.ts';

test('each pause is twice as long as the one before, up to the maximum, and a success begins again', () => {
  const backOff = new BackOff({ initialMs: 500, maxMs: 3000 });
  assert.deepEqual([backOff.next(), backOff.next(), backOff.next()], [500, 1000, 2000]);
  assert.deepEqual([backOff.next(), backOff.next()], [3000, 3000]);
  backOff.reset();
  assert.deepEqual([backOff.next(), backOff.next()], [500, 1000]);
});

test('after any number of failures the pause is the maximum', () => {
  const backOff = new BackOff({ initialMs: 1, maxMs: 20 });
  for (let failure = 0; failure < 2000; failure += 1) backOff.next();
  assert.equal(backOff.next(), 20);
});
