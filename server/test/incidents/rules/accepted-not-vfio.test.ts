import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bound, processExit, unbound } from '../../fixtures/stream-lines.ts';
import { S, T, watch } from '../watch.ts';

/** KVM binds buffer 77 to VM 300 after the lookup of its VFIO data has failed. */
const ACCEPTED = bound({
  t: T,
  inode: 77,
  vm: 300,
  owner: 0,
  violation: 'accepted_not_vfio',
  privacy: 'undeclared',
});

test('a bind that KVM accepts although VFIO did not export the buffer is an incident', () => {
  const { kind, severity, inode, vm, sentence } = watch([ACCEPTED]).first();
  assert.deepEqual([kind, severity, inode, vm?.pid], ['accepted_not_vfio', 'critical', 77, 300]);
  assert.equal(
    sentence,
    'KVM has bound buffer 77 (0000:41:00.0) to VM of pid 300 although VFIO did not export it.',
  );
});

test('an unbind, or the end of the VM, closes the incident', () => {
  assert.equal(watch([ACCEPTED, unbound({ t: 5 * S, inode: 77, vm: 300 })]).first().closed_by, 'unbound');
  assert.equal(watch([ACCEPTED, processExit(5 * S, 300)]).first().closed_by, 'vm_gone');
});

test('the end of the VM closes the incident also if it arrives before the bind', () => {
  assert.equal(watch([processExit(5 * S, 300), ACCEPTED]).first().closed_by, 'vm_gone');
});
