import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bufferRows } from '../../../web/buffers/buffer-rows.ts';
import { DEFAULT_VIEW } from '../../../web/data/page-view.ts';
import type { BufferView } from '../../../web/data/types.ts';
import { busyHost } from '../../fixtures/busy-host.ts';
import { feed } from '../../fixtures/feed.ts';

const { model } = feed([...busyHost()]);

test('the filter finds rows that contain every word in what they show', () => {
  const rows = (change: Partial<typeof DEFAULT_VIEW>) =>
    bufferRows(model.buffers(), { ...DEFAULT_VIEW, ...change }).map(({ inode }) => inode);
  assert.deepEqual(rows({ text: 'TRAINING-b  kvm' }), [6]);
  assert.deepEqual(rows({ text: '#12' }), [12]);
  assert.deepEqual(rows({ text: 'mlx5_0 revoked' }), [10]);
  assert.deepEqual(rows({ text: 'qemu-system-x86' }).length, 14, 'the filter also finds holders');
  assert.deepEqual(rows({ text: 'no-such-vm' }), []);
  const inPod = rows({ text: 'tenant-a/launcher-x7k2p' });
  assert.deepEqual(inPod, rows({ text: 'compute' }));
  assert.ok(inPod.includes(10));
  assert.deepEqual(rows({ privacy: 'private', sort: 'size', descending: true }), [11, 6, 1]);
  assert.deepEqual(rows({ state: 'released' }), []);
  const released: BufferView[] = model.buffers().map((buffer) => ({ ...buffer, state: 'released' }));
  assert.equal(bufferRows(released, DEFAULT_VIEW).length, 0);
  assert.equal(bufferRows(released, { ...DEFAULT_VIEW, state: 'released' }).length, 14);
});

test('devices are sorted by their numbers, not as text', () => {
  const addresses = ['unknown', '10001:8a:00.0', '2000:01:00.0', '0000:41:00.0'];
  const [one] = model.buffers();
  const buffers = addresses.map((device, inode): BufferView => ({ ...(one as BufferView), device, inode }));
  const sorted = bufferRows(buffers, { ...DEFAULT_VIEW, sort: 'device' }).map(({ device }) => device);
  const order = DEFAULT_VIEW.descending ? sorted.toReversed() : sorted;
  assert.deepEqual(order, ['0000:41:00.0', '2000:01:00.0', '10001:8a:00.0', 'unknown']);
});
