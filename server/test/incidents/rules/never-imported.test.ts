import assert from 'node:assert/strict';
import { test } from 'node:test';
import { detached, exported, heartbeat, imported, released } from '../../fixtures/stream-lines.ts';
import { at, HELD_BY_MLX5, S, T, watch } from '../watch.ts';

const EXPORT = exported({ t: T, inode: 7, privacy: 'undeclared' });

test('an export that no importer attaches for five minutes is an incident until one does', () => {
  const { incidents, first, more } = watch([EXPORT]);
  more(heartbeat(302.9 * S));
  assert.deepEqual(incidents(), []);
  more(heartbeat(303.1 * S));
  assert.deepEqual([first().kind, first().severity, first().inode], ['never_imported', 'info', 7]);
  assert.deepEqual([first().since, first().opened_at], [at(T), at(303 * S)]);
  assert.equal(
    first().sentence,
    'Buffer 7 (0000:41:00.0, BAR 2) was exported, but no importer has attached it.',
  );
  more(imported({ t: 310 * S, inode: 7, stage: 'attach', importer: 'irdma' }));
  assert.equal(first().closed_by, 'imported');
});

test('a buffer that was attached or released opens no incident', () => {
  const attached = [...HELD_BY_MLX5, detached(T + 9, 9, 'mlx5_core')];
  assert.deepEqual(watch([...attached, heartbeat(304 * S)]).incidents(), []);
  assert.deepEqual(watch([EXPORT, released(T + 9, 7), heartbeat(304 * S)]).incidents(), []);
});

test('without the attach probe no export is known to have no importer', () => {
  const { incidents, model } = watch([EXPORT, heartbeat(304 * S)], { attached: ['export', 'release'] });
  assert.deepEqual(incidents(), []);
  assert.equal('never_imported' in model.status().open_incidents, false);
});
