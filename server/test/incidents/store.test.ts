import assert from 'node:assert/strict';
import { test } from 'node:test';
import { feed } from '../fixtures/feed.ts';
import { exported, released } from '../fixtures/stream-lines.ts';
import { begin, S, T } from './watch.ts';

const INODES = [1, 2, 3, 4, 5];

/** Lines that open an incident for each of these buffers, of devices without a VM. */
function exports(t: number, inodes: readonly number[]): string[] {
  return inodes.map((inode) => exported({ t, inode, privacy: 'private' }));
}
function releases(t: number, inodes: readonly number[]): string[] {
  return inodes.map((inode) => released(t, inode));
}

test('open incidents are limited for each kind, and folded ones are counted once', () => {
  const { model, more } = feed(begin(), { incidents: { open: 2 } });
  more(...exports(T, INODES), ...exports(T, INODES));
  assert.deepEqual(model.incidents.counts('private_without_vm'), { open: 2, opened: 2, folded: 3 });
  more(...releases(4 * S, INODES), ...exports(5 * S, [11, 12]));
  assert.deepEqual(model.incidents.counts('private_without_vm'), { open: 2, opened: 4, folded: 3 });
});

test('the last closed incidents are kept, newest first', () => {
  const { model, more } = feed(begin(), { incidents: { closed: 3 } });
  more(...exports(T, INODES), ...releases(4 * S, INODES));
  assert.deepEqual(
    model.incidents.all().map(({ id, state }) => [id, state]),
    [
      [5, 'closed'],
      [4, 'closed'],
      [3, 'closed'],
    ],
  );
});
