import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_FAULTS, readFaults } from '../../src/lib/faults.ts';

test('faults are read alone and together, with spaces or without', () => {
  assert.deepEqual(readFaults(''), NO_FAULTS);
  assert.deepEqual(readFaults('loss=10%'), { ...NO_FAULTS, loss: 0.1 });
  assert.deepEqual(readFaults(' crash = 1.5s '), { ...NO_FAULTS, crashUs: 1_500_000 });
  assert.deepEqual(readFaults('malformed=1/60s, loss=100%,crash=5m'), {
    loss: 1,
    malformed: { count: 1, periodUs: 60_000_000 },
    crashUs: 300_000_000,
  });
});

for (const [text, why] of [
  ['los=10%', /there is no fault "los"; did you mean loss\?/],
  ['crash', /there is no fault "crash"|crash cannot be/],
  ['loss=10%,', /there is no fault ""/],
  ['loss=0%', /above 0%/],
  ['loss=101%', /up to 100%/],
  ['loss=0.1', /percentage/],
  ['loss=1%,loss=2%', /loss is given twice/],
  ['malformed=60s', /1\/60s/],
  ['malformed=0/60s', /1\/60s/],
  ['malformed=1/60', /1\/60s/],
  ['crash=0s', /a time above 0/],
  ['crash=soon', /a time above 0, such as 5m/],
] as const) {
  test(`${JSON.stringify(text)} is rejected with the cause`, () => {
    const read = readFaults(text);
    assert.ok(typeof read === 'string');
    assert.match(read, why);
  });
}
