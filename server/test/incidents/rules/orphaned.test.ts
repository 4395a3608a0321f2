import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  exported,
  heartbeat,
  processExit,
  released,
  snapshot,
  snapshotBuffer,
} from '../../fixtures/stream-lines.ts';
import { HELD_BY_MLX5, S, T, watch } from '../watch.ts';

/** The owner of buffer 9 ends at 4 s. */
const ORPHAN = [...HELD_BY_MLX5, processExit(4 * S, 100)];
const HOLDERS = [{ pid: 5, comm: 'holder', fds: 2 }];

test('a buffer is orphaned 10 s after the exit of its owner', () => {
  const { incidents, first, more } = watch(ORPHAN);
  more(heartbeat(13.9 * S));
  assert.deepEqual(incidents(), []);
  more(heartbeat(14.1 * S));
  assert.deepEqual([first().kind, first().severity], ['orphaned', 'warning']);
  assert.equal(
    first().sentence,
    'qemu (pid 100) has ended, but buffer 9 (0000:41:00.0, BAR 2) still exists, held by mlx5_core.',
  );
});

test('the incident names the holders of the last snapshot, and keeps them after the release', () => {
  const { first, more } = watch([...ORPHAN, heartbeat(15 * S)]);
  const found = [snapshotBuffer({ inode: 9, attachments: 1, holders: HOLDERS })];
  more(snapshot(16 * S, found, { cause: 'owner_exit' }));
  assert.deepEqual(first().holders, HOLDERS);
  assert.match(first().sentence, /held by holder \(pid 5, 2 fds\), mlx5_core\.$/);
  more(released(20 * S, 9));
  assert.equal(first().closed_by, 'released');
  assert.deepEqual(first().holders, HOLDERS);
  assert.equal(first().importers[0]?.importer, 'mlx5_core');
});

test('a buffer that is released when its owner exits is not orphaned, also if the exit arrives first', () => {
  const { incidents } = watch([
    processExit(4 * S, 100),
    exported({ t: T, inode: 9, privacy: 'undeclared' }),
    released(4 * S - 1, 9),
    heartbeat(30 * S),
  ]);
  assert.deepEqual(incidents(), []);
});

test('an exit that arrives before the export orphans a buffer that is not released', () => {
  const { first } = watch([
    processExit(4 * S, 100),
    exported({ t: T, inode: 9, privacy: 'undeclared' }),
    heartbeat(30 * S),
  ]);
  assert.equal(first().kind, 'orphaned');
});

test('a buffer that only a snapshot has shown is orphaned after its VM has ended', () => {
  const { first } = watch([
    snapshot(3 * S, [snapshotBuffer({ inode: 9, kvm_pid: 100, attachments: 1 })]),
    processExit(4 * S, 100),
    heartbeat(20 * S),
  ]);
  assert.equal(first().kind, 'orphaned');
  assert.match(first().sentence, /^The owner has ended, but buffer 9 /);
});

test('without the release probe no buffer is known to exist', () => {
  const { incidents } = watch([...ORPHAN, heartbeat(20 * S)], { attached: ['export', 'attach', 'map'] });
  assert.deepEqual(incidents(), []);
});
