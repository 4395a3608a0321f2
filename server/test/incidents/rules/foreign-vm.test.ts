import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bound, processExit, unbound } from '../../fixtures/stream-lines.ts';
import { PRIVATE, T, watch } from '../watch.ts';

/** KVM binds buffer 9, whose device belongs to VM 200, to VM 300. A thread other than the VM's process may have created it. */
function bindToForeignVm(t: number, creator = 300): string {
  return bound({ t, inode: 9, vm: 300, creator, violation: 'foreign_vm' });
}

test('a bind to another VM is an incident until KVM unbinds the buffer there', () => {
  const { first, more } = watch([PRIVATE, bindToForeignVm(T + 1)]);
  assert.deepEqual([first().kind, first().severity, first().vm?.pid], ['foreign_vm', 'critical', 300]);
  assert.equal(
    first().sentence,
    'KVM has bound buffer 9 (0000:41:00.0, BAR 2) to VM of pid 300, but its device belongs to VM of pid 200.',
  );
  more(unbound({ t: T + 3, inode: 9, vm: 200 }));
  assert.equal(first().state, 'open', 'an unbind by the VM that owns the device');
  more(unbound({ t: T + 4, inode: 9, vm: 300 }));
  assert.equal(first().closed_by, 'unbound');
});

test('repeated binds of a buffer to one VM are one incident', () => {
  const { incidents, first } = watch([PRIVATE, bindToForeignVm(T + 1), bindToForeignVm(T + 2)]);
  assert.equal(incidents().length, 1);
  assert.equal(first().count, 2);
  assert.match(first().sentence, /belongs to VM of pid 200, 2 times\.$/);
});

test('the incident is about the process that binds, not about the thread that created the VM', () => {
  const { first, more } = watch([PRIVATE, bindToForeignVm(T + 1, 301)]);
  assert.equal(first().vm?.pid, 300);
  more(unbound({ t: T + 2, inode: 9, vm: 301 }));
  assert.equal(first().state, 'open');
  more(unbound({ t: T + 3, inode: 9, vm: 300 }));
  assert.equal(first().closed_by, 'unbound');
});

test('the end of the VM closes the incident', () => {
  const { first } = watch([PRIVATE, bindToForeignVm(T + 1), processExit(T + 6, 300)]);
  assert.equal(first().closed_by, 'vm_gone');
});

test('an unbind that arrives before its bind closes the incident', () => {
  const { first } = watch([PRIVATE, unbound({ t: T + 9, inode: 9, vm: 300 }), bindToForeignVm(T + 1)]);
  assert.equal(first().closed_by, 'unbound');
});

test('a bind that KVM rejects opens no incident', () => {
  const rejected = bound({ t: T + 1, inode: 9, vm: 300, errno: 22, reason: 'vm_mismatch' });
  assert.deepEqual(watch([PRIVATE, rejected]).incidents(), []);
});
