import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventLine, exported, heartbeat, released, snapshot } from '../../fixtures/stream-lines.ts';
import { at, S, T, watch } from '../watch.ts';

const EXPORT = exported({ t: T, inode: 9, privacy: 'undeclared' });
const FILE_RELEASED = [
  released(5 * S, 9),
  eventLine('late_release', { t: 5 * S + 1, inode: 9, device: 0x4100, done: false }),
];
const VFIO_RELEASED = eventLine('late_release', { t: 8 * S, inode: 9, device: 0x4100, done: true });

test('a buffer whose file is released before VFIO can release it is an incident, until VFIO releases it', () => {
  const { incidents, first, more } = watch([EXPORT, ...FILE_RELEASED]);
  assert.deepEqual(incidents(), [], 'a reader of /proc/PID/fd holds the path only for a moment');
  more(heartbeat(6.1 * S));
  const { kind, severity, inode, device, since, opened_at, sentence } = first();
  assert.deepEqual(
    [kind, severity, inode, device, since, opened_at],
    ['late_release', 'critical', 9, '0000:41:00.0', at(5 * S + 1), at(6 * S + 1)],
  );
  assert.equal(
    sentence,
    'The file of buffer 9 (0000:41:00.0) is released, but a descriptor with O_PATH keeps VFIO from releasing ' +
      'the buffer: the next revocation, reset or close of the device reads freed memory.',
  );
  more(snapshot(7 * S, []));
  assert.equal(first().state, 'open', 'a snapshot does not list such a buffer');
  more(VFIO_RELEASED);
  assert.deepEqual([first().closed_by, first().closed_at, first().exact], ['released', at(8 * S), true]);
});

test('a path that is held for less than a second opens no incident', () => {
  const soon = eventLine('late_release', { t: 5.5 * S, inode: 9, device: 0x4100, done: true });
  assert.deepEqual(watch([EXPORT, ...FILE_RELEASED, soon, heartbeat(9 * S)]).incidents(), []);
});

test('a release of VFIO that arrives before the release of the file opens no incident', () => {
  const [file = '', late = ''] = FILE_RELEASED;
  const first = eventLine('late_release', { t: 5 * S + 2, inode: 9, device: 0x4100, done: true });
  assert.deepEqual(watch([EXPORT, file, first, late, heartbeat(9 * S)]).incidents(), []);
});
