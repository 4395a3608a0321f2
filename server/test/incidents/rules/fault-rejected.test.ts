import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Reason } from '../../../src/protocol/codes.ts';
import { eventLine, imported, processExit, released, unbound } from '../../fixtures/stream-lines.ts';
import { PRIVATE, T, watch } from '../watch.ts';

interface Fault {
  reason?: Reason;
  inode?: number;
  vm?: number;
}

/** KVM resolves a fault of VM 200, or of another VM. */
function resolved(t: number, { inode = 9, vm = 200 }: Fault = {}): string {
  return eventLine('import', { t, inode, pid: vm, stage: 'get_pfn', importer: 'kvm', importer_device: '' });
}

function rejected(t: number, { reason = 'revoked', inode = 9, vm = 200 }: Fault = {}): string {
  const errno = reason === 'no_attachment' ? 14 : 5;
  return eventLine('import', {
    t,
    inode,
    pid: vm,
    ...(inode === 0 && { device: 0 }),
    stage: 'get_pfn',
    importer: 'kvm',
    importer_device: '',
    errno,
    reason,
  });
}

test('a rejected fault is an incident of the VM until KVM resolves one again', () => {
  const { first, more } = watch([PRIVATE, rejected(T + 1)]);
  assert.deepEqual([first().kind, first().severity, first().vm?.pid], ['fault_rejected', 'critical', 200]);
  assert.equal(
    first().sentence,
    'A vCPU of VM of pid 200 stops: KVM could not resolve its fault on buffer 9 (0000:41:00.0, BAR 2), because its memory is revoked.',
  );
  more(resolved(T + 2, { vm: 300 }));
  more(resolved(T + 2, { inode: 8 }));
  assert.equal(first().state, 'open', 'a fault of another VM, or on another buffer');
  more(resolved(T + 3));
  assert.equal(first().closed_by, 'fault_resolved');
  assert.match(first().sentence, / Over: KVM resolved a fault again\.$/);
});

test('rejected faults of one VM on one buffer are one incident, and those of another VM are another', () => {
  const { incidents } = watch([PRIVATE, rejected(T + 1), rejected(T + 2), rejected(T + 3, { vm: 300 })]);
  assert.deepEqual(
    incidents()
      .map(({ vm, count }) => [vm?.pid, count])
      .sort(),
    [
      [200, 2],
      [300, 1],
    ],
  );
});

test('after a fault beyond the buffer, a resolved fault on another page does not close the incident', () => {
  const { first, more } = watch([PRIVATE, rejected(T + 1, { reason: 'beyond_buffer' }), resolved(T + 2)]);
  assert.equal(first().state, 'open');
  more(unbound({ t: T + 3, inode: 9, vm: 200 }));
  assert.equal(first().closed_by, 'unbound');
});

test('the release of the buffer and the end of the VM close the incident', () => {
  assert.equal(watch([PRIVATE, rejected(T + 1), released(T + 2, 9)]).first().closed_by, 'released');
  assert.equal(watch([PRIVATE, rejected(T + 1), processExit(T + 2, 200)]).first().closed_by, 'vm_gone');
});

test('a fault on a slot without a buffer is an incident until the VM ends', () => {
  const { first, more } = watch([rejected(T + 1, { reason: 'no_attachment', inode: 0 })]);
  assert.equal(first().inode, null);
  assert.match(first().sentence, /its fault on a memory slot, because the slot has no buffer\.$/);
  more(processExit(T + 2, 200));
  assert.equal(first().closed_by, 'vm_gone');
});

test('a rejection that arrives after what ended it closes at once, and an older resolved fault closes nothing', () => {
  assert.equal(watch([PRIVATE, resolved(T + 2), rejected(T + 1)]).first().closed_by, 'fault_resolved');
  const late = watch([PRIVATE, resolved(T + 1), rejected(T + 2), rejected(T + 4), resolved(T + 3)]);
  assert.equal(late.first().state, 'open');
});

test('resolved faults, and rejections at other stages, open no incident', () => {
  const attach = imported({
    t: T + 2,
    inode: 9,
    stage: 'attach',
    importer: 'kvm',
    errno: 19,
    reason: 'revoked',
  });
  assert.deepEqual(watch([PRIVATE, resolved(T + 1), attach]).incidents(), []);
});
