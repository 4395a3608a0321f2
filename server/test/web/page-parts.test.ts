import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isRejection } from '../../src/shared/rejection.ts';
import { lossSentences } from '../../src/shared/words.ts';
import { bufferRows } from '../../web/buffer-rows.ts';
import { describe, reasonOf } from '../../web/describe.ts';
import { atLeast, bytes, duration, shorten, span } from '../../web/format.ts';
import { countersSentence, figure, headline, knowledgeOf, watches } from '../../web/headline.ts';
import { MessageSplitter } from '../../web/sse.ts';
import type { BufferView, Incidents, Status } from '../../web/types.ts';
import { DEFAULT_VIEW, parseView, viewHash } from '../../web/view.ts';
import { busyHost } from '../fixtures/busy-host.ts';
import { feed } from '../fixtures/feed.ts';

const { model } = feed([...busyHost()]);
const STATUS: Status = { ...model.status(), not_ready: null };
const incidents = (...severities: ('info' | 'warning' | 'critical')[]): Incidents => ({
  total: severities.length,
  open: severities.length,
  unwatched: [],
  blind_to: [],
  folded: 0,
  kinds: {},
  incidents: severities.map((severity, index) => ({
    id: index + 1,
    kind: 'orphaned',
    severity,
    state: 'open',
    sentence: `${severity} ${index}.`,
    device: '0000:41:00.0',
    inode: null,
    vm: null,
    importers: [],
    holders: [],
    count: 1,
    since: STATUS.now,
    opened_at: STATUS.now,
    closed_at: null,
    closed_by: null,
    waited_seconds: null,
    exact: true,
  })),
});

test('the headline has the level of the most serious state, and a loss is never safe', () => {
  const level = (change: Partial<Status>, open: Incidents = incidents()) =>
    headline({ ...STATUS, ...change }, open, model.buffers()).level;
  assert.equal(level({}), 'safe');
  assert.equal(level({}, incidents('info')), 'safe');
  assert.equal(level({}, incidents('info', 'warning')), 'attention');
  assert.equal(level({}, incidents('warning', 'critical')), 'critical');
  assert.equal(level({ losses: { kernel_ring: 1 } }), 'attention');
  assert.equal(level({ decode_errors: 1 }), 'attention');
  const closed = incidents('critical');
  for (const incident of closed.incidents) incident.state = 'closed';
  assert.equal(level({}, closed), 'attention', 'a closed critical incident still needs attention');
  const live = { kind: 'live', name: 'bpftrace' } as const;
  assert.equal(level({ buffer_state_exact: false, source: live }), 'attention');
  assert.equal(level({ not_ready: 'bpftrace is starting', state: 'starting' }), 'not-ready');
  assert.equal(level({ not_ready: 'bpftrace does not run', state: 'blind' }, incidents('critical')), 'blind');
  assert.equal(level({ state: 'unavailable', not_ready: 'this host cannot be traced' }), 'blind');
});

test('the headline lists its reasons, the most serious first, and summarizes many incidents by kind', () => {
  const { why } = headline(STATUS, incidents('warning', 'critical'), []);
  assert.deepEqual(why, ['critical 1.', 'warning 0.']);
  const many = headline(STATUS, incidents('warning', 'warning', 'warning', 'warning'), []);
  assert.deepEqual(many.why, ['4 incidents are open: 4 × orphaned. The newest:', 'warning 0.']);
  assert.match(headline(STATUS, incidents(), model.buffers()).why[0] ?? '', /^3 private exports: none/);
  assert.match(
    headline({ ...STATUS, dialect: 'mainline' }, incidents(), []).why[0] ?? '',
    /no private exports/,
  );
  assert.deepEqual(lossSentences({ ...STATUS, losses: { kernel_ring: 2, queue: 0, map_full: 1 } }), [
    '3 events or counts were lost (kernel ring 2, map full 1): what is shown may not be all that happened.',
  ]);
});

test('the headline is not safe if probes for violations are not attached', () => {
  const partly: Incidents = {
    ...incidents(),
    blind_to: [
      { kind: 'foreign_vm', probes: ['bind', 'private_read'] },
      { kind: 'private_offered', probes: ['attach'] },
    ],
  };
  const { level, why } = headline(STATUS, partly, model.buffers());
  assert.equal(level, 'attention');
  assert.deepEqual(why, [
    'Not watched: foreign vm, private offered. It would not be seen here: bind, private_read, attach are not attached.',
  ]);
  const critical = { ...incidents('critical'), blind_to: partly.blind_to };
  assert.equal(headline(STATUS, critical, []).level, 'critical');
});

test('the headline does not report closed incidents as open', () => {
  const closed = incidents('critical', 'critical', 'critical', 'critical', 'critical');
  for (const incident of closed.incidents) incident.state = 'closed';
  const { level, why } = headline(STATUS, closed, []);
  assert.equal(level, 'attention');
  assert.deepEqual(why, ['5 incidents are over: 5 × orphaned. The newest:', 'critical 0.']);
});

test('counters that are a lower bound are reported as such', () => {
  assert.match(countersSentence({ counters_exact: true }), /lost events do not change them/);
  assert.match(countersSentence({ counters_exact: false }), /lower bound/);
  assert.deepEqual(lossSentences({ ...STATUS, missed_returns: 1 }), ['1 call was not seen to return.']);
  assert.deepEqual(lossSentences({ ...STATUS, missed_returns: 2 }), ['2 calls were not seen to return.']);
  assert.equal(headline({ ...STATUS, missed_returns: 1 }, incidents(), []).level, 'attention');
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
    const complete = [watches(status, 'rejections'), watches(status, 'importers')];
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
  assert.equal(watches(STATUS, 'revocations'), true);
  assert.equal(watches({ ...STATUS, probes: [] }, 'revocations'), false);
  assert.deepEqual([watches(null, 'rejections'), watches(null, 'importers')], [false, false]);
});

test('a view survives its URL hash, and invalid values in a hash are ignored', () => {
  const view = { ...DEFAULT_VIEW, buffer: 7, text: 'a b&c#d', state: 'revoked', descending: true } as const;
  assert.deepEqual(parseView(`#${viewHash(view)}`), view);
  assert.equal(viewHash(DEFAULT_VIEW), '');
  assert.deepEqual(parseView(''), DEFAULT_VIEW);
  assert.deepEqual(parseView('#buffer=-1&reason=<b>&state=odd&sort=nothing&incident=1e9&x=y'), DEFAULT_VIEW);
  assert.deepEqual(parseView('#reason=not_revocable').reason, 'not_revocable');
});

test('messages are complete for any split of the stream', () => {
  const text =
    'retry: 3000\n: stream of log a\n\nevent: export\nid: a.1\ndata: {"x":1}\n\n: alive\n\nevent: release\nid: a.2\ndata: {}\n\n';
  const expected = [
    { event: 'export', id: 'a.1', data: '{"x":1}' },
    { event: 'release', id: 'a.2', data: '{}' },
  ];
  for (let size = 1; size < text.length; size += 1) {
    const splitter = new MessageSplitter();
    const messages = [];
    for (let at = 0; at < text.length; at += size) messages.push(...splitter.push(text.slice(at, at + size)));
    assert.deepEqual(messages, expected, `in pieces of ${size}`);
  }
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

test('sizes, time spans and durations have readable units', () => {
  assert.deepEqual([0, 1023, 4096, 1536, 3 << 20, 2 ** 41].map(bytes), [
    '0 B',
    '1023 B',
    '4 KiB',
    '1.5 KiB',
    '3 MiB',
    '2 TiB',
  ]);
  assert.deepEqual([-5, 59_400, 60_000, 3_600_000, 5_400_000, 86_400_000, 180_000_000].map(span), [
    '0 s',
    '59 s',
    '1 min',
    '1 h',
    '1 h 30 min',
    '1 d',
    '2 d 2 h',
  ]);
  assert.deepEqual([5e-7, 2e-5, 0.0015, 0.25, 1.5, 12].map(duration), [
    '1 µs',
    '20 µs',
    '1.5 ms',
    '250 ms',
    '1.50 s',
    '12.0 s',
  ]);
  assert.equal(shorten('abcdef', 4), 'abc…');
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
