import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bound,
  detached,
  exported,
  heartbeat,
  imported,
  released,
  snapshot,
  snapshotBuffer,
  unbound,
} from '../../fixtures/stream-lines.ts';
import { offer, PRIVATE, S, T, watch } from '../watch.ts';

test('a rejected offer of a private buffer to an importer other than KVM is a warning', () => {
  const { kind, severity, sentence, importers } = watch([PRIVATE, offer(T + 1, 'rejected')]).first();
  assert.deepEqual([kind, severity], ['private_offered', 'warning']);
  assert.equal(
    sentence,
    'Importer mlx5_core tried to attach buffer 9 (0000:41:00.0, BAR 2, VM of pid 200), which is private: rejected once (no_peer_to_peer).',
  );
  assert.equal(importers[0]?.importer, 'mlx5_core');
});

test('all offers to one importer are one incident, which is critical if one was accepted', () => {
  const { incidents, first, more } = watch([PRIVATE, offer(T + 1, 'rejected')]);
  more(offer(T + 2, 'rejected'), offer(T + 3, 'accepted'));
  assert.equal(incidents().length, 1);
  assert.deepEqual([first().severity, first().count], ['critical', 3]);
  assert.match(first().sentence, /which is private: accepted once, rejected 2 times \(no_peer_to_peer\)\.$/);
  more(released(5 * S, 9));
  assert.equal(first().closed_by, 'released');
});

test('KVM can attach and bind a private buffer of its own VM without an incident', () => {
  const { incidents } = watch([
    PRIVATE,
    imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'kvm' }),
    bound({ t: T + 2, inode: 9, vm: 200 }),
    detached(T + 3, 9, 'kvm'),
    unbound({ t: T + 4, inode: 9, vm: 200 }),
    heartbeat(9 * S),
  ]);
  assert.deepEqual(incidents(), []);
});

test('an offer that arrives before the export opens the incident', () => {
  assert.equal(watch([offer(T + 1, 'rejected'), PRIVATE]).first().kind, 'private_offered');
});

test('an offer that arrives before the snapshot that shows the privacy opens the incident', () => {
  const found = snapshotBuffer({ inode: 9, kvm_pid: 100, attachments: 1, privacy: 'private' });
  const { kind, importers } = watch([offer(2.5 * S, 'accepted'), snapshot(2.9 * S, [found])]).first();
  assert.equal(kind, 'private_offered');
  assert.equal(importers[0]?.importer, 'mlx5_core');
});

test('in private-v2 a buffer counts as private from its first bind by KVM', () => {
  const undeclared = exported({ t: T, inode: 9, privacy: 'undeclared', kvm_pid: 200 });
  const bind = bound({ t: T + 5, inode: 9, vm: 200, privacy: 'undeclared' });
  const after = (...lines: string[]) => watch([undeclared, ...lines], { dialect: 'private-v2' });
  assert.deepEqual(after(offer(T + 1, 'accepted'), bind).incidents(), [], 'offered before the bind');
  assert.match(
    after(bind, offer(T + 6, 'accepted')).first().sentence,
    /which is bound by KVM \(this kernel does not report whether it is private\): accepted once\.$/,
  );
  assert.equal(
    after(offer(T + 6, 'accepted'), bind).first().kind,
    'private_offered',
    'the bind arrives last',
  );
});
