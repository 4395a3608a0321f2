import assert from 'node:assert/strict';
import { test } from 'node:test';
import { feed } from '../fixtures/feed.ts';
import { collectorLine, exited, HEADER, readEnd, ready, starting } from '../fixtures/stream-lines.ts';

const SECOND = 1_000_000;
const BEGIN = [HEADER, starting(SECOND, 1), ready(2 * SECOND)];

function joined(t: number, missed: number): string {
  return collectorLine('joined', { t, stream: 'one', next: 9, missed, state: 0 });
}

function exactAfter(...lines: string[]): boolean {
  return feed([...BEGIN, ...lines]).model.status().counters_exact;
}

test('a child that started or ended in a gap of the stream makes the counters lower bounds', () => {
  const gap = joined(3 * SECOND, 5);
  assert.equal(exactAfter(gap, exited(4 * SECOND, 1)), false);
  assert.equal(exactAfter(gap, starting(4 * SECOND, 2)), false);
});

test('a gap in which no child ended, or without missed lines, leaves the counters exact', () => {
  const read = readEnd(4 * SECOND, 0);
  assert.equal(exactAfter(joined(3 * SECOND, 5)), true);
  assert.equal(exactAfter(joined(3 * SECOND, 5), read, exited(5 * SECOND, 1), starting(6 * SECOND, 2)), true);
  assert.equal(exactAfter(joined(3 * SECOND, 0), exited(5 * SECOND, 1), starting(6 * SECOND, 2)), true);
});
