import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FifoMap } from '../../src/lib/fifo-map.ts';

const KEY = fc.integer({ min: 0, max: 9 });
const OPERATION = fc.oneof(
  fc.record({ set: KEY }),
  fc.record({ delete: KEY }),
  fc.record({ limit: fc.integer({ min: 0, max: 8 }) }),
);

test('the map behaves like a list of entries, in which a key that is set again becomes the newest', () => {
  fc.assert(
    fc.property(fc.array(OPERATION, { maxLength: 60 }), (operations) => {
      const map = new FifoMap<number, number>();
      let expected: [number, number][] = [];
      const without = (key: number) => expected.filter(([one]) => one !== key);
      for (const [value, operation] of operations.entries()) {
        if ('set' in operation) {
          map.set(operation.set, value);
          expected = [...without(operation.set), [operation.set, value]];
        } else if ('delete' in operation) {
          assert.equal(map.delete(operation.delete), without(operation.delete).length < expected.length);
          expected = without(operation.delete);
        } else {
          const evicted = Math.max(0, expected.length - operation.limit);
          assert.equal(map.limit(operation.limit), evicted);
          expected = expected.slice(evicted);
        }
        assert.deepEqual([...map.entries()], expected);
        assert.deepEqual(
          [...map.values()],
          expected.map(([, one]) => one),
        );
        assert.equal(map.size, expected.length);
        assert.equal(map.oldest(), expected[0]?.[0]);
        for (const [index, [key, one]] of expected.entries()) {
          assert.deepEqual(
            [map.has(key), map.get(key), map.next(key)],
            [true, one, expected[index + 1]?.[0]],
          );
        }
      }
      assert.deepEqual([map.has(99), map.get(99), map.next(99)], [false, undefined, undefined]);
    }),
  );
});
