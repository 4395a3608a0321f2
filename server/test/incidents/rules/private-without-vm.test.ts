import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  exported,
  released,
  type SnapshotBufferFields,
  snapshot,
  snapshotBuffer,
} from '../../fixtures/stream-lines.ts';
import { S, T, watch } from '../watch.ts';

const WITHOUT_VM = exported({ t: T, inode: 9, privacy: 'private' });

test('a private export of a device without a VM is an incident until the release', () => {
  const { first, more } = watch([WITHOUT_VM]);
  assert.deepEqual([first().kind, first().severity], ['private_without_vm', 'warning']);
  assert.equal(
    first().sentence,
    'Buffer 9 (0000:41:00.0, BAR 2) is private, but its device belongs to no VM: no VM may bind it.',
  );
  more(released(4 * S, 9));
  assert.equal(first().closed_by, 'released');
});

test('a private export of a device with a VM, and a shared export, open no incident', () => {
  const withVm = exported({ t: T, inode: 9, privacy: 'private', kvm_pid: 200 });
  assert.deepEqual(watch([withVm]).incidents(), []);
  assert.deepEqual(watch([exported({ t: T, inode: 9, privacy: 'shared' })]).incidents(), []);
});

test('a snapshot with a private buffer of a device without a VM opens an incident', () => {
  const found = (fields: Partial<SnapshotBufferFields>) =>
    watch([snapshot(3 * S, [snapshotBuffer({ inode: 9, privacy: 'private', ...fields })])]).incidents();
  assert.equal(found({ kvm: false })[0]?.kind, 'private_without_vm');
  assert.deepEqual(found({ kvm: true }), []);
  assert.deepEqual(found({}), [], 'an older recording does not have this field');
});
