import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeLine } from '../../src/protocol/decode.ts';
import { PARTS_LIMIT, SnapshotParts, snapshotLines } from '../../src/protocol/snapshot-parts.ts';
import { DEFAULT_LINE_LIMIT } from '../../src/protocol/splitter.ts';
import type { Snapshot } from '../../src/protocol/wire.ts';
import { feed } from '../fixtures/feed.ts';
import { DEVICE, HEADER, ready, snapshotBuffer, starting } from '../fixtures/stream-lines.ts';

const SECOND = 1_000_000;

function snapshotOf(count: number, t_begin = 2 * SECOND): Snapshot {
  return {
    t_begin,
    t_end: t_begin + 1000,
    cause: 'start',
    complete: true,
    errors: [],
    buffers: Array.from({ length: count }, (_, index) =>
      snapshotBuffer({ inode: index + 1, holders: [{ pid: 7, comm: 'qemu', fds: 1 }] }),
    ),
    device_holders: Array.from({ length: count }, () => ({ device: DEVICE, pid: 7 })),
  };
}
function linesOf(snapshot: Snapshot): string[] {
  return snapshotLines(snapshot).map((line) => JSON.stringify(line));
}

test('a snapshot of 20,000 buffers is split into lines below the line limit and joined again', () => {
  const snapshot = snapshotOf(20_000);
  const lines = linesOf(snapshot);
  assert.ok(lines.length > 4, `${lines.length} lines`);
  assert.ok(Math.max(...lines.map((line) => line.length)) < DEFAULT_LINE_LIMIT / 2);
  const parts = new SnapshotParts();
  for (const line of lines) {
    const record = decodeLine(line);
    if (record.type === 'snapshot_part') parts.add(record.data);
    else if (record.type === 'snapshot') assert.deepEqual(parts.join(record.data), snapshot);
    else assert.fail(`${record.type}: ${line.slice(0, 100)}`);
  }
  const { model } = feed([HEADER, starting(SECOND, 1), ready(SECOND), ...lines]);
  assert.equal(model.status().buffers.live, 20_000);
  assert.equal(model.bufferStateExact, true);
});

test('a snapshot that fits into one line is not split', () => {
  assert.deepEqual(snapshotLines(snapshotOf(100)), [{ type: 'snapshot', data: snapshotOf(100) }]);
});

test('a snapshot with a missing part releases no buffer and leaves the buffer state inexact', () => {
  const { model, more } = feed([HEADER, starting(SECOND, 1), ready(SECOND), ...linesOf(snapshotOf(5000))]);
  const [first = '', ...rest] = linesOf(snapshotOf(5000, 3 * SECOND));
  more('{"type":"loss","data":{"t":2500000,"stage":"queue","count":1}}', ...rest);
  assert.equal(model.status().buffers.live, 5000);
  assert.equal(model.bufferStateExact, false);
  more(first, ...rest);
  assert.equal(model.bufferStateExact, true);
});

test('parts without their snapshot are limited and do not join another snapshot', () => {
  const parts = new SnapshotParts();
  for (let index = 0; index <= PARTS_LIMIT; index += 1)
    parts.add({ t_begin: 1, buffers: [snapshotBuffer({ inode: index })], device_holders: [] });
  const last = { ...snapshotOf(0, 1), parts: PARTS_LIMIT + 1 };
  const { buffers, complete, errors } = parts.join(last);
  assert.deepEqual([buffers.length, complete], [PARTS_LIMIT, false]);
  assert.deepEqual(errors, [`1 of ${PARTS_LIMIT + 1} parts of the snapshot are missing`]);

  parts.add({ t_begin: 1, buffers: [snapshotBuffer({ inode: 1 })], device_holders: [] });
  const { buffers: others, errors: none } = parts.join({ ...snapshotOf(0, 2), parts: 1 });
  assert.deepEqual([others, none], [[], ['1 of 1 parts of the snapshot are missing']]);
});
