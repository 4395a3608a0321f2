import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LiveBuffers } from '../../src/collector/live-buffers.ts';
import type { StreamRecord } from '../../src/protocol/decode.ts';
import type { SnapshotBuffer } from '../../src/protocol/wire.ts';

function exported(inode: number, t: number, errno = 0): StreamRecord {
  return { type: 'export', data: { t, inode, errno } } as StreamRecord;
}
function released(inode: number): StreamRecord {
  return { type: 'release', data: { t: 9, inode } } as StreamRecord;
}
function listed(...inodes: number[]): SnapshotBuffer[] {
  return inodes.map((inode) => ({ inode }) as SnapshotBuffer);
}

test('an export makes a buffer live and its release ends it', () => {
  const buffers = new LiveBuffers();
  assert.equal(buffers.any, false);
  buffers.event(exported(7, 1));
  assert.equal(buffers.any, true);
  buffers.event(released(7));
  assert.equal(buffers.any, false);
});

test('a rejected export adds no buffer', () => {
  const buffers = new LiveBuffers();
  buffers.event(exported(0, 1, 22));
  assert.equal(buffers.any, false);
});

test('a snapshot adds buffers whose export was not traced, and a complete one removes those whose release was lost', () => {
  const buffers = new LiveBuffers();
  buffers.event(exported(7, 1));
  buffers.snapshot({ buffers: listed(8), complete: false, t_begin: 5 });
  buffers.event(released(8));
  assert.equal(buffers.any, true, 'an incomplete snapshot does not prove that buffer 7 was released');
  buffers.snapshot({ buffers: [], complete: true, t_begin: 6 });
  assert.equal(buffers.any, false);
});

test('a snapshot does not remove a buffer that was exported after it began', () => {
  const buffers = new LiveBuffers();
  buffers.event(exported(7, 6));
  buffers.snapshot({ buffers: [], complete: true, t_begin: 5 });
  assert.equal(buffers.any, true);
});
