import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bound,
  bufferState,
  exited,
  exported,
  imported,
  processExit,
  ready,
  released,
  snapshot,
  snapshotBuffer,
  starting,
} from '../fixtures/stream-lines.ts';
import { at, offer, PRIVATE, S, T, watch } from './watch.ts';

test('opening and closing an incident are events with a sequence number', () => {
  const { events } = watch([exported({ t: T, inode: 9, privacy: 'private' }), released(4 * S, 9)]);
  assert.deepEqual(
    events.map((event) => [event.seq, event.kind === 'incident' ? event.change : event.kind, event.time]),
    [
      [1, 'export', at(T)],
      [2, 'opened', at(T)],
      [3, 'release', at(4 * S)],
      [4, 'closed', at(4 * S)],
    ],
  );
});

test('incidents that one line opens are in the order of the rules, and a release closes them in that order', () => {
  const { more } = watch([offer(T + 1, 'rejected')]);
  const changes = (line: string) =>
    more(line).flatMap((event) => (event.kind === 'incident' ? [[event.change, event.incident.kind]] : []));
  assert.deepEqual(changes(exported({ t: T, inode: 9, privacy: 'private', born_revoked: true })), [
    ['opened', 'born_revoked'],
    ['opened', 'private_without_vm'],
    ['opened', 'private_offered'],
  ]);
  assert.deepEqual(changes(released(4 * S, 9)), [
    ['closed', 'born_revoked'],
    ['closed', 'private_without_vm'],
    ['closed', 'private_offered'],
  ]);
});

test('of a snapshot, attaches that arrived before it open first', () => {
  const { incidents } = watch([
    offer(T, 'rejected'),
    snapshot(4 * S, [snapshotBuffer({ inode: 9, privacy: 'private', kvm: false })]),
  ]);
  assert.deepEqual(
    incidents()
      .sort((one, other) => one.id - other.id)
      .map(({ kind }) => kind),
    ['private_offered', 'private_without_vm'],
  );
});

test('the end of a VM closes its incidents of all kinds, oldest first', () => {
  const { more } = watch([
    PRIVATE,
    bound({ t: T + 1, inode: 77, vm: 300, violation: 'accepted_not_vfio' }),
    bound({ t: T + 2, inode: 9, vm: 300, violation: 'foreign_vm' }),
  ]);
  assert.deepEqual(
    more(processExit(5 * S, 300)).map((event) => event.kind === 'incident' && event.incident.kind),
    ['accepted_not_vfio', 'foreign_vm'],
  );
});

test('a release that arrives before its export leaves no incident open', () => {
  const { incidents, model } = watch([
    released(T + 9, 9),
    exported({ t: T, inode: 9, privacy: 'private', born_revoked: true }),
  ]);
  assert.deepEqual(
    incidents().map(({ kind, state }) => [kind, state]),
    [
      ['private_without_vm', 'closed'],
      ['born_revoked', 'closed'],
    ],
  );
  assert.ok(Object.values(model.status().open_incidents).every((count) => count === 0));
});

test('after a gap an incident is exact again if a snapshot can confirm it, and only then', () => {
  const { incidents, more } = watch([
    exported({ t: T, inode: 9, privacy: 'private' }),
    exported({ t: T, inode: 10, privacy: 'undeclared' }),
    imported({ t: T + 1, inode: 10, stage: 'attach', importer: 'iommu' }),
    imported({ t: T + 2, inode: 10, stage: 'iommufd', importer: 'iommu' }),
    bufferState(T + 3, 10, true),
  ]);
  const exact = () => Object.fromEntries(incidents().map((one) => [one.kind, one.exact]));
  assert.deepEqual(exact(), { mappings_lost: true, private_without_vm: true });
  more(exited(5 * S, 1), starting(6 * S, 2), ready(7 * S));
  assert.deepEqual(exact(), { mappings_lost: false, private_without_vm: false });
  const found = [
    snapshotBuffer({ inode: 9, privacy: 'private' }),
    snapshotBuffer({ inode: 10, privacy: 'undeclared', revoked: true, attachments: 1 }),
  ];
  more(snapshot(8 * S, found, { cause: 'gap' }));
  assert.deepEqual(exact(), { mappings_lost: false, private_without_vm: true });
});

test('a complete snapshot without a buffer closes its incidents, which are then inexact', () => {
  const { first, more } = watch([exported({ t: T, inode: 9, privacy: 'private' })]);
  more(snapshot(8 * S, [], { complete: false }));
  assert.equal(first().state, 'open');
  more(snapshot(9 * S, []));
  assert.deepEqual([first().closed_by, first().exact], ['snapshot', false]);
});

test('incidents are sorted by state, severity and age: open, critical and newest first', () => {
  const { incidents } = watch([
    PRIVATE,
    offer(T + 1, 'accepted'),
    exported({ t: T + 2, inode: 10, born_revoked: true }),
    exported({ t: T + 3, inode: 11, born_revoked: true }),
    exported({ t: T + 4, inode: 12, born_revoked: true }),
    released(T + 5, 12),
  ]);
  assert.deepEqual(
    incidents().map(({ severity, inode, state }) => [severity, inode, state]),
    [
      ['critical', 9, 'open'],
      ['warning', 11, 'open'],
      ['warning', 10, 'open'],
      ['warning', 12, 'closed'],
    ],
  );
});
