import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bufferState, exported, released, snapshot, snapshotBuffer } from '../../fixtures/stream-lines.ts';
import { S, T, watch } from '../watch.ts';

const BORN_REVOKED = exported({ t: T, inode: 9, privacy: 'undeclared', born_revoked: true });
const RESTORED = bufferState(4 * S, 9, false);

test('an export while memory decode is off is an incident', () => {
  const { kind, severity, state, sentence } = watch([BORN_REVOKED]).first();
  assert.deepEqual([kind, severity, state], ['born_revoked', 'warning', 'open']);
  assert.equal(
    sentence,
    'Buffer 9 (0000:41:00.0, BAR 2) was exported while memory decode of its device was off: every import is rejected until it is on.',
  );
});

test('the incident closes when the memory is restored or the buffer is released', () => {
  assert.equal(watch([BORN_REVOKED, RESTORED]).first().closed_by, 'restored');
  assert.equal(watch([BORN_REVOKED, released(4 * S, 9)]).first().closed_by, 'released');
});

test('an export that arrives after the restore opens and closes the incident', () => {
  assert.equal(watch([RESTORED, BORN_REVOKED]).first().closed_by, 'restored');
});

test('a snapshot that shows the buffer as live closes the incident, which is then inexact', () => {
  const live = snapshotBuffer({ inode: 9, privacy: 'undeclared' });
  const { closed_by, exact } = watch([BORN_REVOKED, snapshot(4 * S, [live])]).first();
  assert.deepEqual([closed_by, exact], ['snapshot', false]);
});
