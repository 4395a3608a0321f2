import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  exported,
  imported,
  type SnapshotBufferFields,
  snapshot,
  snapshotBuffer,
} from '../../fixtures/stream-lines.ts';
import { MAINLINE, offer, S, T, watch } from '../watch.ts';

function exportOf(vm_type: 'tdx' | 'default'): string {
  return exported({ t: T, inode: 9, privacy: 'undeclared', kvm_pid: 200, vm_type });
}
const ATTACH = offer(T + 1, 'accepted');

test('on mainline an importer other than KVM that attaches memory of a confidential VM opens an incident', () => {
  const { kind, severity, sentence } = watch([exportOf('tdx'), ATTACH], MAINLINE).first();
  assert.deepEqual([kind, severity], ['confidential_shared', 'critical']);
  assert.equal(
    sentence,
    'Importer mlx5_core has attached buffer 9 (0000:41:00.0, BAR 2, VM of pid 200) of a confidential VM (tdx); this kernel does not support private exports.',
  );
});

test('an attach that arrives before the export opens the incident', () => {
  assert.equal(watch([ATTACH, exportOf('tdx')], MAINLINE).first().kind, 'confidential_shared');
});

test('an attach that arrives before the snapshot that shows the VM opens the incident', () => {
  const found = snapshotBuffer({
    inode: 9,
    kvm_pid: 100,
    attachments: 1,
    vm_type: 'snp',
    privacy: 'undeclared',
  });
  const { kind, importers } = watch(
    [offer(2.5 * S, 'accepted'), snapshot(2.9 * S, [found])],
    MAINLINE,
  ).first();
  assert.equal(kind, 'confidential_shared');
  assert.equal(importers[0]?.importer, 'mlx5_core');
});

test('an attach by KVM, a rejected one, and one of another kind of VM open no incident', () => {
  const byKvm = imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'kvm' });
  assert.deepEqual(watch([exportOf('tdx'), byKvm], MAINLINE).incidents(), []);
  assert.deepEqual(watch([exportOf('tdx'), offer(T + 1, 'rejected')], MAINLINE).incidents(), []);
  assert.deepEqual(watch([exportOf('default'), ATTACH], MAINLINE).incidents(), []);
});

test('on a kernel with private exports the kind of the VM opens no incident', () => {
  assert.deepEqual(watch([exportOf('tdx'), ATTACH], { dialect: 'private-v1' }).incidents(), []);
});

test('a snapshot that finds memory of a confidential VM attached opens an incident with an unknown importer', () => {
  const found = (fields: Partial<SnapshotBufferFields>) =>
    watch(
      [snapshot(3 * S, [snapshotBuffer({ inode: 9, kvm_pid: 100, vm_type: 'snp', ...fields })])],
      MAINLINE,
    );
  const { kind, sentence } = found({ attachments: 2 }).first();
  assert.equal(kind, 'confidential_shared');
  assert.match(sentence, /^An unknown importer has attached buffer 9 /);
  assert.deepEqual(found({ attachments: 0 }).incidents(), []);
  assert.deepEqual(found({ attachments: 2, vm_type: 'default' }).incidents(), []);
});
