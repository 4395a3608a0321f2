import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeTuple } from '../../src/protocol/tuples.ts';

/** An import as it was printed before it had a route. */
const OLDER = [4, 1, 2, 3, 2, 16640, 99, 0, 0, 'mlx5_core', '0000:01:00.0', 'x'] as const;

function routeOf(tuple: readonly unknown[]): unknown {
  const record = decodeTuple(tuple);
  return typeof record === 'object' && record.type === 'import' ? record.data.route : record;
}

test('a field that was added to the end of a record is read, and has a value for records without it', () => {
  assert.equal(routeOf([...OLDER, 2]), 'host_bridge');
  assert.equal(routeOf(OLDER), 'unknown');
});

test('another missing field, null, an unknown code and a longer record are invalid', () => {
  for (const tuple of [OLDER.slice(0, -1), [...OLDER, null], [...OLDER, 9], [...OLDER, 2, 2]])
    assert.equal(routeOf(tuple), 'bad_fields', JSON.stringify(tuple));
});
