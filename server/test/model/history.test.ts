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
const time = (micros: number): string => String(micros / SECOND);

test('each sample tells what grew since the one before, a second', () => {
  const book = new CounterStore(10);
  const history = new History();
  history.read(10 * SECOND, book.totals);
  assert.deepEqual(history.samples(time), [], 'one read is no rate');
  book.read({ name: 'exports', key: '16640,2', value: 4 });
  book.read({ name: 'exports', key: '16896,1', value: 2 });
  book.read({ name: 'export_rejections', key: '16640,22,17', value: 1 });
  book.read({ name: 'revocations', key: '16640,3', value: 3 });
  history.read(12 * SECOND, book.totals);
  book.read({ name: 'imports', key: `1,16640,2,${packName('kvm')}`, value: 5 });
  book.read({ name: 'import_rejections', key: `1,16640,2,${packName('kvm')},22,4`, value: 10 });
  history.read(13 * SECOND, book.totals);
  const samples = history.samples(time);
  assert.deepEqual(
    samples.map((sample) => [sample.time, sample.seconds, ...Object.values(sample.rates)]),
    [
      ['12', 2, 3, 0.5, 0, 0, 1.5],
      ['13', 1, 0, 0, 5, 10, 0],
    ],
  );
});

test('durations are those between two reads, and null where there was no call', () => {
  const book = new CounterStore(10);
  const history = new History();
  book.read({ name: 'export_bucket', key: '9', value: 1000 });
  history.read(SECOND, book.totals);
  // 98 below 1.024 µs, one in the next bucket, one in the last, which has no end.
  book.read({ name: 'export_bucket', key: '0', value: 98 });
  book.read({ name: 'export_bucket', key: '1', value: 1 });
  book.read({ name: 'export_bucket', key: '14', value: 1 });
  history.read(2 * SECOND, book.totals);
  const [sample] = history.samples(time);
  assert.ok(Math.abs((sample?.durations.export_duration?.p50 ?? 0) - (1.024e-6 * 50) / 98) < 1e-12);
  assert.ok(Math.abs((sample?.durations.export_duration?.p99 ?? 0) - 4.096e-6) < 1e-12);
  assert.equal(sample?.durations.import_duration, null);
  book.read({ name: 'revoke_bucket', key: '14', value: 5 });
  history.read(3 * SECOND, book.totals);
  assert.deepEqual(history.samples(time)[1]?.durations.revocation_duration, {
    p50: (1024 * 4 ** 13) / 1e9,
    p99: (1024 * 4 ** 13) / 1e9,
  });
});

test('it is bounded: it grows coarser up to the last half hour, and no count is lost by that', () => {
  const book = new CounterStore(10);
  const history = new History();
  for (let second = 0; second < 7200; second += 1) {
    book.read({ name: 'exports', key: '16640,2', value: second });
    history.read(second * SECOND, book.totals);
    if (second === 100) assert.equal(history.samples(time).length, 100);
    // Later the samples are 4 s apart or more, so none of them can come and go between two looks.
    if (second < 1000 || second % 4 === 0) assert.ok(history.samples(time).length <= 240);
  }
  const samples = history.samples(time);
  const covered = samples.reduce((sum, { seconds }) => sum + seconds, 0);
  assert.ok(covered > 1800 && covered < 2000, String(covered));
  assert.ok(samples.every(({ seconds }) => seconds === 8));
  assert.ok(samples.every(({ rates }) => rates.exports === 1));
});

test('a device that leaves and comes back, and a new child, make no rate of their own', () => {
  const book = new CounterStore(10);
  const history = new History();
  book.read({ name: 'exports', key: '16640,2', value: 50 });
  history.read(SECOND, book.totals);
  book.park(new Set(['0000:41:00.0']));
  history.read(2 * SECOND, book.totals);
  book.read({ name: 'exports', key: '16640,2', value: 51 });
  history.read(3 * SECOND, book.totals);
  book.newChild();
  book.read({ name: 'exports', key: '16640,2', value: 2 });
  history.read(4 * SECOND, book.totals);
  assert.deepEqual(
    history.samples(time).map(({ rates }) => rates.exports),
    [0, 1, 2],
  );
});

test('a read of which lines are missing is no sample', () => {
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
