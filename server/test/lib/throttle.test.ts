import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withinDeadline } from '../../src/lib/deadline.ts';
import { Throttle } from '../../src/lib/throttle.ts';

test('one call passes in each interval, and gets the number of calls that did not', () => {
  let now = 5_000_000;
  const clock = { bootUs: () => now, wallMs: () => 0, sleep: async () => {} };
  const throttle = new Throttle({ clock, everyMs: 1000 });
  assert.equal(throttle.pass(), 0);
  assert.equal(throttle.pass(), undefined);
  now += 999_999;
  assert.equal(throttle.pass(), undefined);
  now += 1;
  assert.equal(throttle.pass(), 2);
  assert.equal(throttle.pass(), undefined);
});

test('a deadline reports whether work was in time, and leaves no timer behind', async () => {
  assert.equal(await withinDeadline(Promise.resolve(1), 60_000), true);
  assert.equal(await withinDeadline(new Promise(() => {}), 5), false);
  await assert.rejects(withinDeadline(Promise.reject(new Error('broken')), 60_000), /broken/);
});
