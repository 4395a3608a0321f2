import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isRejection } from '../../../src/contract/rejection.ts';
import { describe, reasonOf } from '../../../web/data/event-description.ts';
import { busyHost } from '../../fixtures/busy-host.ts';
import { feed } from '../../fixtures/feed.ts';
import { HEADER, imported, ready, starting } from '../../fixtures/stream-lines.ts';

test('a failed private read has its reason but is not a rejection', () => {
  const file = new URL('../../../../recordings/private-bind-after-failed-lookup.ndjson', import.meta.url);
  const { events } = feed(readFileSync(file, 'utf8').trimEnd().split('\n'));
  const failed = events.filter((event) => 'errno' in event && event.errno !== 0);
  assert.deepEqual(
    failed.map((event) => [event.kind, describe(event).tone, reasonOf(event) !== null, isRejection(event)]),
    [['private_read', 'bad', true, false]],
  );
  const rejected = feed([...busyHost({ rejections: 12 })]).events.filter(isRejection);
  assert.equal(rejected.filter(({ kind }) => kind === 'import').length, 12);
  assert.ok(rejected.every((event) => reasonOf(event) === event.reason));
});

test('a mapping has its route, if that is known', () => {
  const mapped = (route: 'iommu' | 'unknown') =>
    feed([
      ...[HEADER, starting(1_000_000, 1), ready(2_000_000)],
      imported({ t: 3_000_000, inode: 9, stage: 'map', importer: 'mlx5_core', route }),
    ]).events.flatMap((event) => (event.kind === 'import' ? [describe(event).detail] : []));
  assert.deepEqual(mapped('iommu'), ['through the IOMMU, 3 µs']);
  assert.deepEqual(mapped('unknown'), ['3 µs']);
});
