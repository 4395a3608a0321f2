import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isRejection } from '../../../src/contract/rejection.ts';
import { describe, reasonOf } from '../../../web/data/event-description.ts';
import { busyHost } from '../../fixtures/busy-host.ts';
import { feed } from '../../fixtures/feed.ts';

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
