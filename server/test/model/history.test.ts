import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CounterStore } from '../../src/model/counters.ts';
import { History } from '../../src/model/history.ts';
import { feed } from '../fixtures/feed.ts';
import {
  counterRead,
  exited,
  HEADER,
  heartbeat,
  packName,
  ready,
  starting,
} from '../fixtures/stream-lines.ts';

const SECOND = 1_000_000;
function time(micros: number): string {
  return String(micros / SECOND);
}

test('each sample has the rates per second since the previous sample', () => {
  const counters = new CounterStore(10);
  const history = new History();
  history.read(10 * SECOND, counters.totals);
  assert.deepEqual(history.samples(time), [], 'one read gives no rate');
  counters.read({ name: 'exports', key: '16640,2', value: 4 });
  counters.read({ name: 'exports', key: '16896,1', value: 2 });
  counters.read({ name: 'export_rejections', key: '16640,22,17', value: 1 });
  counters.read({ name: 'revocations', key: '16640,3', value: 3 });
  history.read(12 * SECOND, counters.totals);
  counters.read({ name: 'imports', key: `1,16640,2,${packName('kvm')}`, value: 5 });
  counters.read({ name: 'import_rejections', key: `1,16640,2,${packName('kvm')},22,4`, value: 10 });
  history.read(13 * SECOND, counters.totals);
  const samples = history.samples(time);
  assert.deepEqual(
    samples.map((sample) => [sample.time, sample.seconds, ...Object.values(sample.rates)]),
    [
      ['12', 2, 3, 0.5, 0, 0, 1.5],
      ['13', 1, 0, 0, 5, 10, 0],
    ],
  );
});

test('durations are those of the calls between two reads, and null without a call', () => {
  const counters = new CounterStore(10);
  const history = new History();
  counters.read({ name: 'export_bucket', key: '9', value: 1000 });
  history.read(SECOND, counters.totals);
  // 98 calls below 1.024 µs, one in the next bucket, and one in the last bucket, which has no upper bound.
  counters.read({ name: 'export_bucket', key: '0', value: 98 });
  counters.read({ name: 'export_bucket', key: '1', value: 1 });
  counters.read({ name: 'export_bucket', key: '14', value: 1 });
  history.read(2 * SECOND, counters.totals);
  const [sample] = history.samples(time);
  assert.ok(Math.abs((sample?.durations.export_duration?.p50 ?? 0) - (1.024e-6 * 50) / 98) < 1e-12);
  assert.ok(Math.abs((sample?.durations.export_duration?.p99 ?? 0) - 4.096e-6) < 1e-12);
  assert.equal(sample?.durations.import_duration, null);
  counters.read({ name: 'revoke_bucket', key: '14', value: 5 });
  history.read(3 * SECOND, counters.totals);
  assert.deepEqual(history.samples(time)[1]?.durations.revocation_duration, {
    p50: (1024 * 4 ** 13) / 1e9,
    p99: (1024 * 4 ** 13) / 1e9,
  });
});

test('the history covers about half an hour in at most 240 samples and loses no count when it merges them', () => {
  const counters = new CounterStore(10);
  const history = new History();
  for (let second = 0; second < 7200; second += 1) {
    counters.read({ name: 'exports', key: '16640,2', value: second });
    history.read(second * SECOND, counters.totals);
    if (second === 100) assert.equal(history.samples(time).length, 100);
    // After 1000 s the samples are at least 4 s apart, so checking every 4 s misses none.
    if (second < 1000 || second % 4 === 0) assert.ok(history.samples(time).length <= 240);
  }
  const samples = history.samples(time);
  const covered = samples.reduce((sum, { seconds }) => sum + seconds, 0);
  assert.ok(covered > 1800 && covered < 2000, String(covered));
  assert.ok(samples.every(({ seconds }) => seconds === 8));
  assert.ok(samples.every(({ rates }) => rates.exports === 1));
});

test('a parked device and a new child do not change the rates', () => {
  const counters = new CounterStore(10);
  const history = new History();
  counters.read({ name: 'exports', key: '16640,2', value: 50 });
  history.read(SECOND, counters.totals);
  counters.park(new Set(['0000:41:00.0']));
  history.read(2 * SECOND, counters.totals);
  counters.read({ name: 'exports', key: '16640,2', value: 51 });
  history.read(3 * SECOND, counters.totals);
  counters.newChild();
  counters.read({ name: 'exports', key: '16640,2', value: 2 });
  history.read(4 * SECOND, counters.totals);
  assert.deepEqual(
    history.samples(time).map(({ rates }) => rates.exports),
    [0, 1, 2],
  );
});

test('a counter read with missing lines adds no sample', () => {
  const { model, more } = feed([HEADER, starting(SECOND, 1), ready(SECOND), ...counterRead(2 * SECOND, {})]);
  more(...counterRead(3 * SECOND, { releases: 1 }));
  assert.equal(model.history().length, 1);
  const [, end = ''] = counterRead(4 * SECOND, { releases: 2 }, 1);
  more(end);
  assert.equal(model.history().length, 1);
  more(...counterRead(5 * SECOND, { releases: 3 }, 2));
  assert.equal(model.history().length, 2);
  assert.equal(model.status().now, '2023-11-14T22:13:25.000Z');
  more(heartbeat(7 * SECOND, 0), exited(7 * SECOND, 1));
  assert.equal(model.status().now, '2023-11-14T22:13:27.000Z');
});
