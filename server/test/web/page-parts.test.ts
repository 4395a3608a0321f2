import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { atLeast } from '../../src/contract/format.ts';
import { isRejection } from '../../src/contract/rejection.ts';
import { lossSentences } from '../../src/contract/texts.ts';
import { bufferRows } from '../../web/buffers/buffer-rows.ts';
import { describe, reasonOf } from '../../web/data/event-description.ts';
import { countersSentence, covers, figure, knowledgeOf } from '../../web/data/knowledge.ts';
import { DEFAULT_VIEW, parseView, viewHash } from '../../web/data/page-view.ts';
import type { BufferView, Status } from '../../web/data/types.ts';
import { busyHost } from '../fixtures/busy-host.ts';
import { feed } from '../fixtures/feed.ts';

const { model } = feed([...busyHost()]);
const STATUS: Status = { ...model.status(), not_ready: null };
test('counters that are a lower bound are reported as such', () => {
  assert.match(countersSentence({ counters_exact: true }), /lost events do not change them/);
  assert.match(countersSentence({ counters_exact: false }), /lower bound/);
  assert.deepEqual(lossSentences({ ...STATUS, missed_returns: 1 }), ['The return of 1 call was not traced.']);
  assert.deepEqual(lossSentences({ ...STATUS, missed_returns: 2 }), [
    'The return of 2 calls was not traced.',
  ]);
});

test('the page state is current, from before tracing ended, or unknown', () => {
  const never = { ...feed([]).model.status(), not_ready: null };
  assert.equal(knowledgeOf(null), 'never');
  assert.equal(knowledgeOf({ ...never, state: 'unavailable' }), 'never');
  assert.equal(knowledgeOf({ ...never, state: 'tracing' }), 'now');
  assert.equal(knowledgeOf(STATUS), 'now');
  assert.equal(knowledgeOf({ ...STATUS, state: 'blind' }), 'before');
  const idle = { ...never, state: 'blind', last_counter_read: never.now } as const;
  assert.equal(knowledgeOf(idle), 'before', 'a host without events was also traced');
  const unread = { ...STATUS, state: 'unavailable', last_counter_read: null } as const;
  assert.equal(knowledgeOf(unread), 'before');
  assert.equal(knowledgeOf({ ...unread, events_received: 0, buffers: { live: 0, revoked: 0 } }), 'never');
});

test('a number from incomplete probes is shown as a lower bound, and 0 as a dash', () => {
  assert.deepEqual(
    [atLeast(0, true), atLeast(0, false), atLeast(1200, false), atLeast(1200, true)],
    ['0', '–', '≥ 1,200', '1,200'],
  );
  const completeness = (dialect: Status['dialect'], ...attached: string[]) => {
    const probes = STATUS.probes.map((one) => ({ ...one, attached: attached.includes(one.probe) }));
    const status = { ...STATUS, dialect, probes };
    const complete = [covers(status, 'rejections'), covers(status, 'importers')];
    assert.equal(figure(0, status, 'importers'), complete[1] === true ? '0' : '–');
    assert.equal(figure(2, status, 'importers'), complete[1] === true ? '2' : '≥ 2');
    assert.equal(figure(0, { ...status, state: 'blind' }, 'importers'), complete[1] === true ? '0' : '–');
    assert.equal(figure(2, { ...status, state: 'blind' }, 'importers'), '2');
    return complete;
  };
  assert.deepEqual(completeness('private-v1', 'export', 'attach', 'detach', 'bind'), [true, true]);
  assert.deepEqual(completeness('private-v1', 'export', 'attach', 'detach'), [false, false]);
  assert.deepEqual(completeness('mainline', 'export', 'attach', 'detach'), [true, true]);
  assert.deepEqual(completeness('mainline', 'export', 'attach'), [true, false]);
  assert.deepEqual(completeness('mainline', 'attach', 'detach'), [false, true]);
  assert.deepEqual(completeness('mainline', 'export', 'detach'), [false, false]);
  assert.equal(covers(STATUS, 'revocations'), true);
  assert.equal(covers({ ...STATUS, probes: [] }, 'revocations'), false);
  assert.deepEqual([covers(null, 'rejections'), covers(null, 'importers')], [false, false]);
});

test('a view survives its URL hash, and invalid values in a hash are ignored', () => {
  const view = { ...DEFAULT_VIEW, buffer: 7, text: 'a b&c#d', state: 'revoked', descending: true } as const;
  assert.deepEqual(parseView(`#${viewHash(view)}`), view);
  assert.equal(viewHash(DEFAULT_VIEW), '');
  assert.deepEqual(parseView(''), DEFAULT_VIEW);
  assert.deepEqual(parseView('#buffer=-1&reason=<b>&state=odd&sort=nothing&incident=1e9&x=y'), DEFAULT_VIEW);
  assert.deepEqual(parseView('#reason=not_revocable').reason, 'not_revocable');
});

test('the filter finds rows that contain every word in what they show', () => {
  const rows = (change: Partial<typeof DEFAULT_VIEW>) =>
    bufferRows(model.buffers(), { ...DEFAULT_VIEW, ...change }).map(({ inode }) => inode);
  assert.deepEqual(rows({ text: 'TRAINING-b  kvm' }), [6]);
  assert.deepEqual(rows({ text: '#12' }), [12]);
  assert.deepEqual(rows({ text: 'mlx5_0 revoked' }), [10]);
  assert.deepEqual(rows({ text: 'qemu-system-x86' }).length, 14, 'the filter also finds holders');
  assert.deepEqual(rows({ text: 'no-such-vm' }), []);
  assert.deepEqual(rows({ privacy: 'private', sort: 'size', descending: true }), [11, 6, 1]);
  assert.deepEqual(rows({ state: 'released' }), []);
  const released: BufferView[] = model.buffers().map((buffer) => ({ ...buffer, state: 'released' }));
  assert.equal(bufferRows(released, DEFAULT_VIEW).length, 0);
  assert.equal(bufferRows(released, { ...DEFAULT_VIEW, state: 'released' }).length, 14);
});

test('devices are sorted by their numbers, not as text', () => {
  const addresses = ['unknown', '10001:8a:00.0', '2000:01:00.0', '0000:41:00.0'];
  const [one] = model.buffers();
  const buffers = addresses.map((device, inode): BufferView => ({ ...(one as BufferView), device, inode }));
  const sorted = bufferRows(buffers, { ...DEFAULT_VIEW, sort: 'device' }).map(({ device }) => device);
  const order = DEFAULT_VIEW.descending ? sorted.toReversed() : sorted;
  assert.deepEqual(order, ['0000:41:00.0', '2000:01:00.0', '10001:8a:00.0', 'unknown']);
});

test('a failed private read has its reason but is not a rejection', () => {
  const file = new URL('../../../recordings/private-bind-after-failed-lookup.ndjson', import.meta.url);
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
