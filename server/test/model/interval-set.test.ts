import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Deadlines } from '../../src/incidents/deadlines.ts';
import { FifoMap } from '../../src/lib/fifo-map.ts';
import { MinHeap } from '../../src/lib/min-heap.ts';
import { IntervalSet } from '../../src/model/interval-set.ts';

const times = fc.integer({ min: 0, max: 20 });

test('an interval set has the same counts as a sorted list of start times', () => {
  const step = fc.oneof(
    fc.record({ what: fc.constantFrom('begin' as const, 'end' as const, 'endAll' as const), t: times }),
    fc.record({ what: fc.constant('limit' as const), t: fc.integer({ min: 0, max: 4 }) }),
    fc.record({ what: fc.constant('set' as const), t: times, count: fc.integer({ min: 0, max: 5 }) }),
    fc.record({ what: fc.constant('move' as const), t: times, to: times }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const set = new IntervalSet();
      let open: number[] = [];
      let early: number[] = [];
      for (const one of steps) {
        const { t } = one;
        open.sort((a, b) => a - b);
        if (one.what === 'begin') {
          const met = early.findIndex((end) => end >= t);
          assert.equal(set.begin(t), met === -1);
          if (met === -1) open.push(t);
          else early.splice(met, 1);
        } else if (one.what === 'end') {
          set.end(t);
          if ((open[0] ?? Number.POSITIVE_INFINITY) <= t) open.shift();
          else early = [...early, t].slice(-16);
        } else if (one.what === 'endAll') {
          const left = open.filter((begin) => begin > t);
          assert.equal(set.endAll(t), open.length - left.length);
          open = left;
        } else if (one.what === 'limit') {
          set.limit(t);
          open = open.slice(Math.max(0, open.length - t));
        } else if (one.what === 'set') {
          set.set(one.count, t);
          open = Array.from({ length: one.count }, () => t);
          early = [];
        } else if (one.what === 'move') {
          set.move(t, one.to);
          const index = open.indexOf(t);
          if (index !== -1) open[index] = one.to;
        }
        assert.equal(set.count, open.length);
        for (const at of [0, 5, 10, 20])
          assert.equal(
            set.hasSince(at),
            open.some((begin) => begin <= at),
          );
      }
    }),
    { numRuns: 300 },
  );
});

test('an interval set accepts any count up to the largest safe integer', () => {
  const set = new IntervalSet();
  set.set(Number.MAX_SAFE_INTEGER, 5);
  set.end(6);
  assert.equal(set.count, Number.MAX_SAFE_INTEGER - 1);
  set.limit(3);
  assert.equal(set.endAll(5), 3);
});

test('a heap returns its items in order after any removals', () => {
  fc.assert(
    fc.property(fc.array(times), fc.array(times), (items, removed) => {
      const heap = new MinHeap<number>((one, other) => one < other);
      for (const item of items) heap.push(item);
      const left = [...items];
      for (const item of removed) {
        const index = left.indexOf(item);
        assert.equal(heap.remove(item), index !== -1);
        if (index !== -1) left.splice(index, 1);
      }
      heap.keep((item) => item % 5 !== 0);
      const sorted = left.filter((item) => item % 5 !== 0).sort((a, b) => a - b);
      assert.deepEqual(
        sorted.map(() => heap.pop()),
        sorted,
      );
      assert.equal(heap.pop(), undefined);
    }),
  );
});

test('each deadline is due once, in the order of the times, with its last time', () => {
  const deadlines = new Deadlines();
  for (const [key, since] of [
    [1, 30],
    [2, 10],
    [3, 20],
    [4, 15],
    [3, 5],
    [2, 10],
  ] as const)
    deadlines.add(key, since);
  deadlines.delete(4);
  const due = (until: number) => Array.from(deadlines.due(until), ({ key, since }) => [key, since]);
  assert.deepEqual(due(4), []);
  assert.deepEqual(due(20), [
    [3, 5],
    [2, 10],
  ]);
  assert.deepEqual(due(100), [[1, 30]]);
  for (let round = 0; round < 10_000; round += 1) {
    deadlines.add(9, round);
    deadlines.delete(9);
  }
  assert.equal(deadlines.size, 0);
  assert.deepEqual(due(100_000), []);
});

test('the oldest key of a FIFO map is the remaining key that was set first', () => {
  const key = fc.integer({ min: 0, max: 9 });
  const step = fc.record({ what: fc.constantFrom('set', 'delete', 'oldest', 'limit'), key });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const map = new FifoMap<number, string>();
      let keys: number[] = [];
      for (const one of steps) {
        if (one.what === 'set') {
          map.set(one.key, String(one.key));
          keys = [...keys.filter((other) => other !== one.key), one.key];
        } else if (one.what === 'delete') {
          assert.equal(map.delete(one.key), keys.includes(one.key));
          keys = keys.filter((other) => other !== one.key);
        } else if (one.what === 'limit') {
          assert.equal(map.limit(one.key), Math.max(0, keys.length - one.key));
          keys = keys.slice(Math.max(0, keys.length - one.key));
        } else assert.equal(map.oldest(), keys[0]);
        assert.deepEqual([...map.values()], keys.map(String));
      }
    }),
    { numRuns: 300 },
  );
});
