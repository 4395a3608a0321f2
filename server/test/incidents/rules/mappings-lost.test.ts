import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bufferState,
  detached,
  heartbeat,
  imported,
  released,
  revokeCall,
} from '../../fixtures/stream-lines.ts';
import { at, HELD_BY_IOMMUFD, S, T, watch } from '../watch.ts';

function attach(t: number): string {
  return imported({ t, inode: 9, stage: 'attach', importer: 'iommu' });
}
function map(t: number): string {
  return imported({ t, inode: 9, stage: 'iommufd', importer: 'iommu' });
}
function rejectedMap(fields: { t: number; us: number; errno: number }): string {
  const { t, us, errno } = fields;
  return imported({
    t,
    inode: 9,
    stage: 'iommufd',
    importer: 'iommu',
    errno,
    reason: 'other',
    ns: us * 1000,
  });
}

/** Buffer 9 is revoked at 4 s: iommufd loses its mapping. */
const LOST = [...HELD_BY_IOMMUFD, bufferState(4 * S, 9, true)];

test('lost mappings are an incident until they are remapped', () => {
  const { first, more } = watch([...LOST, revokeCall({ t: 4 * S + 9, us: 9 })]);
  assert.deepEqual([first().kind, first().severity], ['mappings_lost', 'warning']);
  assert.equal(
    first().sentence,
    'iommufd has lost 1 mapping of buffer 9 (0000:41:00.0, BAR 2) by a revocation: DMA to it fails until it is remapped.',
  );
  more(bufferState(5 * S, 9, false), detached(6 * S, 9, 'iommu'));
  assert.equal(first().state, 'open');
  more(attach(7 * S), map(7 * S + 1));
  assert.deepEqual([first().closed_by, first().closed_at], ['mapped_again', at(7 * S + 1)]);
});

test('the release of the buffer closes the incident', () => {
  const { first } = watch([...LOST, released(5 * S, 9)]);
  assert.equal(first().closed_by, 'released');
});

test('a detach by iommufd, and a revocation of a buffer without a mapping, lose no mapping', () => {
  const { incidents } = watch([
    ...HELD_BY_IOMMUFD,
    detached(T + 3, 9, 'iommu'),
    bufferState(4 * S, 9, true),
    revokeCall({ t: 4 * S + 9, us: 9 }),
    heartbeat(9 * S),
  ]);
  assert.deepEqual(incidents(), []);
});

test('a map that iommufd rejects after it got the memory does not remap it, so the mapping stays lost', () => {
  const { model, incidents, more } = watch([...LOST, bufferState(5 * S, 9, false)]);
  more(
    attach(7 * S),
    map(7 * S + 10),
    detached(7 * S + 20, 9, 'iommu'),
    // The event has a time shortly after the end of its duration, so the call seems to begin after it got the memory.
    rejectedMap({ t: 7 * S + 30, us: 15, errno: 17 }),
  );
  assert.equal(model.buffer(9)?.lost_mappings, 1);
  assert.equal(model.buffer(9)?.attachments[0]?.mapped, false);
  assert.deepEqual(
    incidents().map(({ kind, state }) => [kind, state]),
    [
      ['mappings_lost', 'open'],
      ['mappings_lost', 'closed'],
    ],
  );
});

test('a map that iommufd rejects before it gets the memory does not undo the remap', () => {
  const { model, first, more } = watch([...LOST, bufferState(5 * S, 9, false)]);
  more(attach(8 * S), map(8 * S + 1), rejectedMap({ t: 9 * S, us: 60, errno: 22 }));
  assert.equal(model.buffer(9)?.lost_mappings, 0);
  assert.equal(first().closed_by, 'mapped_again');
});

test('a copy of a mapping is lost too, and one remap does not restore it', () => {
  const copied = [...HELD_BY_IOMMUFD, map(T + 3), bufferState(4 * S, 9, true)];
  assert.equal(watch(copied).first().count, 2);
  const remapped = [...copied, bufferState(5 * S, 9, false), attach(6 * S), map(6 * S + 1)];
  assert.deepEqual([watch(remapped).first().count, watch(remapped).first().state], [1, 'open']);
  assert.equal(watch([...remapped, map(7 * S)]).first().closed_by, 'mapped_again');
});
