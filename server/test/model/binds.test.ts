import assert from 'node:assert/strict';
import { test } from 'node:test';
import { feed } from '../fixtures/feed.ts';
import {
  bound,
  detached,
  eventLine,
  exported,
  HEADER,
  imported,
  ready,
  starting,
  unbound,
} from '../fixtures/stream-lines.ts';

const BEGIN = [HEADER, starting(1_000_000, 1), ready(2_000_000)];
const T = 3_000_000;

function after(...lines: string[]) {
  return feed([...BEGIN, ...lines]);
}

test('a bind marks the attachment of KVM as mapped until the unbind', () => {
  const bind = eventLine('bind', { t: T + 2, inode: 9, vm_pid: 100, owner_vm_pid: 100 });
  const { model, more } = after(
    exported({ t: T, inode: 9 }),
    imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'kvm' }),
    bind,
  );
  assert.equal(model.buffer(9)?.attachments.length, 1);
  assert.equal(model.buffer(9)?.attachments[0]?.mapped, true);
  more(eventLine('unbind', { t: T + 3, inode: 9, vm_pid: 100 }));
  assert.equal(model.buffer(9)?.attachments[0]?.mapped, false);
});

test('a bind that KVM rolls back leaves no attachment', () => {
  const { model } = after(
    exported({ t: T, inode: 9 }),
    imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'kvm' }),
    bound({ t: T + 2, inode: 9, vm: 100 }),
    detached(T + 3, 9, 'kvm'),
    unbound({ t: T + 3, inode: 9, vm: 100 }),
    bound({ t: T + 4, inode: 9, vm: 100, errno: 12, reason: 'rolled_back' }),
  );
  assert.deepEqual(model.buffer(9)?.attachments, []);
});

test('a fault of a guest changes no attachment and no mapping', () => {
  const { model, more } = after(
    exported({ t: T, inode: 9 }),
    imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'kvm' }),
    bound({ t: T + 2, inode: 9, vm: 100 }),
  );
  const before = model.buffer(9)?.attachments;
  const fault = {
    inode: 9,
    stage: 'get_pfn',
    importer: 'kvm',
    importer_device: 'kvm',
    comm: 'CPU 0/KVM',
  } as const;
  more(eventLine('import', { t: T + 3, ...fault }));
  assert.deepEqual(model.buffer(9)?.attachments, before);
  more(eventLine('import', { t: T + 4, ...fault, errno: 5, reason: 'revoked' }));
  assert.deepEqual(model.buffer(9)?.attachments, before);
});
