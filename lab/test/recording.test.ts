import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareStreams, sliceStream } from '../src/recording.ts';

const value = (...data: (number | string)[]): string => JSON.stringify({ type: 'value', data });
const map = (name: string, data: unknown): string => JSON.stringify({ type: 'map', data: { [name]: data } });
const HEADER = JSON.stringify({ type: 'header', data: {} });
const STARTING = JSON.stringify({ type: 'child', data: { state: 'starting' } });

const release = (t: number, pid: number, inode: number): string => value(3, t, pid, inode, 'session');

test('a slice has the header and the child before it, and counts from where it begins', () => {
  const lines = [
    HEADER,
    STARTING,
    value(0, 5),
    release(6, 100, 1),
    value(1, 7, 1),
    map('@releases', 1),
    map('@exports', { '64,0': 1 }),
    release(8, 101, 2),
    value(1, 9, 3),
    map('@releases', 3),
    map('@exports', { '64,0': 1, '256,0': 2 }),
    value(1, 10, 3),
    map('@releases', 3),
  ];
  assert.deepEqual(sliceStream(lines, 7), [
    HEADER,
    STARTING,
    value(0, 5),
    release(8, 101, 2),
    value(1, 9, 2),
    map('@releases', 2),
    map('@exports', { '256,0': 2 }),
    value(1, 10, 2),
  ]);
});

test('streams that differ only in times, pids and inodes tell the same story', () => {
  const recorded = [release(1, 100, 7), map('@releases', 1), map('@export_ns', 5)];
  assert.deepEqual(
    compareStreams(recorded, [release(9, 200, 8), map('@releases', 1), map('@export_ns', 6)]),
    [],
  );
});

test('another buffer, another count and a missing event are differences', () => {
  const recorded = [release(1, 100, 7), release(2, 100, 7), map('@releases', 2)];
  assert.equal(
    compareStreams(recorded, [release(1, 100, 7), release(2, 100, 8), map('@releases', 2)]).length,
    1,
  );
  assert.equal(compareStreams(recorded, [release(1, 100, 7), map('@releases', 1)]).length, 2);
});
