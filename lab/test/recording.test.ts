import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAPS } from '../../server/src/protocol/maps.ts';
import { compareStreams, sliceStream } from '../src/recording.ts';

function value(...data: (number | string)[]): string {
  return JSON.stringify({ type: 'value', data });
}
const RELEASES = MAPS.releases.number;
const EXPORTS = MAPS.exports.number;
const IMPORTS = MAPS.imports.number;
const EXPORT_NS = MAPS.export_ns.number;
/** A counter line as bpftrace prints it. The key is text, because a JSON parser would round its numbers. */
function counter(map: number, key: string, count: number): string {
  return `{"type": "value", "data": [13,${map},${key},${count}]}`;
}
function sliced(map: number, key: string, count: number): string {
  return `{"type":"value","data":[13,${map},${key},${count}]}`;
}
const HEADER = JSON.stringify({ type: 'header', data: {} });
const STARTING = JSON.stringify({ type: 'child', data: { state: 'starting' } });

function release(t: number, pid: number, inode: number): string {
  return value(3, t, pid, inode, 'session');
}

const BIG = '[1,7310575183467606885,0]';

test('a slice starts with the header and the child, and its counters start at 0', () => {
  const lines = [
    HEADER,
    STARTING,
    value(0, 5),
    release(6, 100, 1),
    value(1, 7, 1),
    counter(RELEASES, '0', 1),
    counter(EXPORTS, '[64,0]', 1),
    value(14, 7, 2),
    release(8, 101, 2),
    value(1, 9, 3),
    counter(RELEASES, '0', 3),
    counter(EXPORTS, '[64,0]', 1),
    counter(IMPORTS, BIG, 2),
    value(14, 9, 5),
    value(1, 10, 3),
    counter(RELEASES, '0', 3),
    value(14, 10, 6),
    value(1, 11, 3),
    value(14, 11, 6),
  ];
  assert.deepEqual(sliceStream(lines, 8), [
    HEADER,
    STARTING,
    value(0, 5),
    release(8, 101, 2),
    value(1, 9, 2),
    sliced(RELEASES, '0', 2),
    sliced(IMPORTS, BIG, 2),
    value(14, 9, 2),
    value(1, 11, 2),
    value(14, 11, 2),
  ]);
});

test('a recording without a field that was added later is equal to a stream with the value of a missing field', () => {
  const older = [4, 1, 2, 3, 1, 64, 9, 0, 0, 'x', 'x', 'x'] as const;
  assert.deepEqual(compareStreams([value(...older)], [value(...older, 0)]), []);
  assert.equal(compareStreams([value(...older)], [value(...older, 1)]).length, 1);
});

test('streams that differ only in times, pids and inodes are equal', () => {
  const recorded = [release(1, 100, 7), counter(RELEASES, '0', 1), counter(EXPORT_NS, '0', 5)];
  const fresh = [release(9, 200, 8), counter(RELEASES, '0', 1), counter(EXPORT_NS, '0', 6)];
  assert.deepEqual(compareStreams(recorded, fresh), []);
});

test('a number with quotes, as newer versions of bpftrace print it, equals one without', () => {
  assert.deepEqual(
    compareStreams([counter(IMPORTS, BIG, 2)], [counter(IMPORTS, '[1,"7310575183467606885",0]', 2)]),
    [],
  );
});

test('another buffer, another count and a missing event are differences', () => {
  const recorded = [release(1, 100, 7), release(2, 100, 7), counter(RELEASES, '0', 2)];
  assert.equal(
    compareStreams(recorded, [release(1, 100, 7), release(2, 100, 8), counter(RELEASES, '0', 2)]).length,
    1,
  );
  assert.equal(compareStreams(recorded, [release(1, 100, 7), counter(RELEASES, '0', 1)]).length, 2);
});
