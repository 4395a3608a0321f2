import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ALL_PROBES,
  bufferState,
  collectorLine,
  exported,
  heartbeat,
  imported,
  released,
  revokeCall,
  snapshot,
  snapshotBuffer,
  unmapped,
} from '../../fixtures/stream-lines.ts';
import { at, HELD_BY_MLX5, S, T, watch } from '../watch.ts';

/** A revocation at 4 s that has not ended. */
const WAITING = [...HELD_BY_MLX5, bufferState(4 * S, 9, true), heartbeat(6 * S)];

const MLX5 = { importer: 'mlx5_core', importer_device: 'mlx5_core', inode: 9 };
const IRDMA = { importer: 'irdma', importer_device: 'irdma', inode: 10 };

test('a revocation that waits for a second opens an incident that names the importers it waits for', () => {
  const { incidents, first, more, model } = watch([...HELD_BY_MLX5, bufferState(4 * S, 9, true)]);
  more(heartbeat(4.9 * S));
  assert.deepEqual(incidents(), []);
  more(heartbeat(5.1 * S));
  const { kind, severity, state, since, opened_at, importers, sentence } = first();
  assert.deepEqual([kind, severity, state], ['revoke_waiting', 'warning', 'open']);
  assert.deepEqual([since, opened_at], [at(4 * S), at(5 * S)]);
  assert.deepEqual(importers, [MLX5]);
  assert.equal(
    sentence,
    'The revocation of the memory of 0000:41:00.0 by qemu (pid 100, cause flr) waits for mlx5_core to unmap buffer 9.',
  );
  assert.equal(model.status().open_incidents.revoke_waiting, 1);
});

test('the end of the call closes the incident, which keeps the importers and gets the duration', () => {
  const { first, more, model } = watch(WAITING);
  more(unmapped(7 * S, 9, 'mlx5_core'));
  assert.deepEqual(first().importers, [], 'it waits for no importer any more');
  more(revokeCall({ t: 7 * S + 10, us: 3_000_012 }));
  const { closed_by, waited_seconds, importers, exact, sentence } = first();
  assert.deepEqual([closed_by, waited_seconds, exact], ['revoke_ended', 3.000012, true]);
  assert.deepEqual(importers, [MLX5]);
  assert.match(sentence, /unmap buffer 9\. Over after 3\.000 s: the call has ended\.$/);
  assert.equal(model.status().open_incidents.revoke_waiting, 0);
});

for (const [order, lines] of [
  ['in order', [bufferState(4 * S, 9, true), revokeCall({ t: 4 * S + 50, us: 60 })]],
  ['the end first', [revokeCall({ t: 4 * S + 50, us: 60 }), bufferState(4 * S, 9, true)]],
] as const)
  test(`a fast revocation opens no incident (${order})`, () => {
    const { incidents } = watch([...HELD_BY_MLX5, ...lines, heartbeat(9 * S)]);
    assert.deepEqual(incidents(), []);
  });

test('a revocation that waited between two heartbeats is reported once, at its end', () => {
  const { incidents } = watch([
    ...HELD_BY_MLX5,
    bufferState(4 * S, 9, true),
    revokeCall({ t: 5.5 * S, us: 1.5 * S }),
  ]);
  assert.deepEqual(
    incidents().map(({ kind, state, waited_seconds }) => [kind, state, waited_seconds]),
    [['revoke_waiting', 'closed', 1.5]],
  );
});

test('the buffers of one revocation share one incident', () => {
  const { first, incidents, more } = watch([
    ...HELD_BY_MLX5,
    exported({ t: T, inode: 10, privacy: 'undeclared' }),
    imported({ t: T + 1, inode: 10, stage: 'attach', importer: 'irdma' }),
    imported({ t: T + 2, inode: 10, stage: 'map', importer: 'irdma' }),
    bufferState(4 * S, 9, true),
    heartbeat(6 * S),
  ]);
  more(unmapped(6 * S + 1, 9, 'mlx5_core'), bufferState(6 * S + 2, 10, true));
  assert.deepEqual(first().importers, [IRDMA], 'it waits for the buffer that is revoked next');
  more(revokeCall({ t: 8 * S, us: 4 * S }));
  assert.deepEqual(first().importers, [MLX5, IRDMA]);
  assert.equal(incidents().length, 1);
});

test('a mapping whose event arrives late is named too', () => {
  const { first, more } = watch(WAITING);
  more(imported({ t: 4 * S - 1, inode: 9, stage: 'map', importer: 'irdma' }));
  more(unmapped(7 * S, 9, 'mlx5_core'), unmapped(7 * S, 9, 'irdma'));
  more(revokeCall({ t: 7 * S + 10, us: 3 * S }));
  assert.deepEqual(
    first().importers.map(({ importer }) => importer),
    ['mlx5_core', 'irdma'],
  );
});

test('the next call of the device closes an incident whose end was missed, and the late end corrects it', () => {
  const { first, incidents, more } = watch(WAITING);
  more(bufferState(7 * S, 9, false));
  assert.deepEqual([first().closed_by, first().exact], ['next_call', false]);
  assert.match(first().sentence, /the end of this one was missed/);
  more(revokeCall({ t: 6.9 * S, us: 2.9 * S }));
  assert.deepEqual([first().closed_by, first().exact], ['revoke_ended', true]);
  assert.equal(first().waited_seconds, 2.9);
  assert.equal(incidents().length, 1);
});

test('the release of its last buffer closes the incident inexactly', () => {
  const { first, more } = watch(WAITING);
  more(released(7 * S, 9));
  assert.deepEqual([first().closed_by, first().exact], ['released', false]);
});

test('a snapshot closes the incident if the buffer has no attachment, and only then', () => {
  const { first, more } = watch(WAITING);
  more(snapshot(6 * S, [snapshotBuffer({ inode: 9, revoked: true, attachments: 1 })]));
  assert.equal(first().state, 'open');
  more(snapshot(7 * S, [snapshotBuffer({ inode: 9, revoked: true, attachments: 0 })]));
  assert.deepEqual([first().closed_by, first().exact], ['snapshot', false]);
});

test('after a loss the incident is inexact, and a snapshot closes it if no importer is known', () => {
  const { first, more } = watch(WAITING);
  assert.equal(first().exact, true);
  more(collectorLine('loss', { t: 6.5 * S, stage: 'queue', count: 2 }));
  assert.equal(first().exact, false);
  const attached = [snapshotBuffer({ inode: 9, revoked: true, attachments: 1 })];
  more(snapshot(7 * S, attached));
  assert.equal(first().state, 'open');
  more(unmapped(7.5 * S, 9, 'mlx5_core'), snapshot(8 * S, attached));
  assert.equal(first().closed_by, 'snapshot');
});

test('without the unmap probe the importers are unknown, and the sentence has the reason', () => {
  const attached = ALL_PROBES.filter((probe) => probe !== 'unmap');
  const { first } = watch(WAITING, { attached });
  assert.deepEqual(first().importers, []);
  assert.match(
    first().sentence,
    /waits for importers, which are unknown because unmaps are not traced here\.$/,
  );
});
