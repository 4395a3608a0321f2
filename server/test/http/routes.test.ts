import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Value } from 'typebox/value';
import {
  BuffersAnswer,
  EventsAnswer,
  HistoryAnswer,
  IncidentsAnswer,
  StatusAnswer,
} from '../../src/contract/answers.ts';
import { EVENT_KINDS } from '../../src/contract/events.ts';
import { counterRead, detached, eventLine, unmapped } from '../fixtures/stream-lines.ts';
import { build, STREAM } from './build.ts';

test('/-/healthy always answers 200, and /-/ready follows the readiness', async (t) => {
  let ready = false;
  const readiness = () =>
    ready ? ({ ready } as const) : ({ ready: false, why: 'bpftrace is starting' } as const);
  const { app } = await build(t, { readiness });
  assert.equal((await app.inject('/-/healthy')).statusCode, 200);
  const no = await app.inject('/-/ready');
  assert.equal(no.statusCode, 503);
  assert.equal(no.body, 'not ready: bpftrace is starting\n');
  ready = true;
  assert.equal((await app.inject('/-/ready')).statusCode, 200);
});

test('the status has all fields of the model, and the reason why the daemon is not ready', async (t) => {
  const { app, model } = await build(t);
  const answer = await app.inject('/api/v1/status');
  assert.deepEqual(answer.json(), { ...model.status(), not_ready: null });
  assert.ok(Value.Check(StatusAnswer, answer.json()));
  const other = await build(t, { readiness: () => ({ ready: false, why: 'stopping' }) });
  assert.equal((await other.app.inject('/api/v1/status')).json().not_ready, 'stopping');
  assert.equal(answer.json().state, 'tracing');
});

test('buffers are filtered by device, state and privacy', async (t) => {
  const { app, model } = await build(t);
  const ask = async (query: string) => {
    const answer = await app.inject(`/api/v1/buffers${query}`);
    assert.equal(answer.statusCode, 200, answer.body);
    assert.ok(Value.Check(BuffersAnswer, answer.json()));
    return answer.json().buffers.map((buffer: { inode: number }) => buffer.inode);
  };
  assert.deepEqual((await app.inject('/api/v1/buffers')).json().buffers, model.buffers());
  assert.deepEqual((await ask('')).sort(), [7, 8, 9]);
  assert.deepEqual(await ask('?device=0000:42:00.0'), [8]);
  assert.deepEqual(await ask('?device=42:00.0'), [8]);
  assert.deepEqual(await ask('?state=released'), [9]);
  assert.deepEqual(await ask('?state=revoked&privacy=shared'), [8]);
  assert.deepEqual(await ask('?privacy=private'), [7]);
  const limited = await app.inject('/api/v1/buffers?limit=1');
  assert.equal(limited.json().buffers.length, 1);
  assert.equal(limited.json().total, 3);
});

test('events can be read page by page with the cursor of the previous answer', async (t) => {
  const { app, log } = await build(t);
  const all = (await app.inject('/api/v1/events?limit=1000')).json();
  assert.ok(Value.Check(EventsAnswer, all));
  assert.deepEqual(all.events, log.read(0, 1000).events);
  assert.equal(all.more, false);
  const seen: number[] = [];
  let after = 0;
  for (let more = true; more; ) {
    const page = (await app.inject(`/api/v1/events?limit=3&after=${after}&log=${all.log}`)).json();
    seen.push(...page.events.map((event: { seq: number }) => event.seq));
    ({ next: after, more } = page);
  }
  assert.deepEqual(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test('events are filtered by kind, device, reason and result', async (t) => {
  const { app } = await build(t);
  const ask = async (query: string) =>
    (await app.inject(`/api/v1/events?${query}`)).json().events.map((event: { seq: number }) => event.seq);
  assert.deepEqual(await ask('kind=export'), [1, 6, 7, 9]);
  assert.deepEqual(await ask('kind=export&result=failed'), [7]);
  assert.deepEqual(await ask('device=42:00.0'), [6, 8]);
  assert.deepEqual(await ask('kind=incident&device=41:00.0'), [2, 4]);
  assert.deepEqual(await ask('reason=revoked'), [5]);
  assert.deepEqual(await ask('inode=8'), [6, 8]);
  const ofSeven = (await app.inject('/api/v1/events?inode=7')).json().events as { kind: string }[];
  assert.ok(ofSeven.some(({ kind }) => kind === 'incident'));
  assert.deepEqual(await ask('inode=7&kind=export'), [1]);
  assert.deepEqual(await ask('result=ok'), [1, 3, 6, 9]);
});

test('an events answer has the number of events that were evicted after its cursor', async (t) => {
  const { app } = await build(t, { keep: 3 });
  const page = (await app.inject('/api/v1/events?after=2')).json();
  assert.equal(page.dropped, 5);
  assert.equal(page.oldest, 8);
  assert.equal(page.reset, false);
});

test('a cursor from another log, or beyond the end of this log, restarts at the oldest event', async (t) => {
  const { app } = await build(t);
  for (const query of ['after=5&log=other', 'after=4000&log=log1']) {
    const page = (await app.inject(`/api/v1/events?${query}`)).json();
    assert.equal(page.reset, true);
    assert.equal(page.events[0].seq, 1);
  }
  const end = await app.inject('/api/v1/events?after=10');
  assert.deepEqual([end.statusCode, end.json().reset, end.json().events], [200, false, []]);
  assert.equal((await app.inject('/api/v1/events?after=11')).statusCode, 400);
});

test('an event of every kind passes its schema unchanged', async (t) => {
  const lines = [
    ...STREAM,
    unmapped(3_999_999, 7, 'mlx5_core'),
    detached(4_000_000, 7, 'mlx5_core'),
    eventLine('revoke_call', { t: 4_000_001, ns: 900, device: 0x4200 }),
    eventLine('private_read', { t: 4_000_002, inode: 7, kvm_pid: 100 }),
    eventLine('bind', {
      t: 4_000_003,
      ns: 700,
      inode: 7,
      errno: 22,
      reason: 'vm_mismatch',
      vm_pid: 100,
      owner_vm_pid: 200,
    }),
    eventLine('unbind', { t: 4_000_004, inode: 7, vm_pid: 100 }),
    eventLine('late_release', { t: 4_000_005, inode: 7, done: false }),
    eventLine('zap', { t: 4_000_005, ns: 700, inode: 7, vm_pid: 100 }),
  ];
  const { app, log } = await build(t, { lines });
  const { events } = (await app.inject('/api/v1/events?limit=1000')).json();
  assert.deepEqual(events, log.read(0, 1000).events);
  assert.deepEqual(
    new Set(events.map(({ kind }: { kind: string }) => kind)),
    new Set([...EVENT_KINDS, 'incident']),
  );
});

test('the history has the rates between counter reads', async (t) => {
  const lines = [...STREAM, ...counterRead(5_000_000, { exports: { [`${0x4100},2`]: 5 } }, 4)];
  const { app, model } = await build(t, { lines });
  const answer = await app.inject('/api/v1/history');
  assert.ok(Value.Check(HistoryAnswer, answer.json()));
  assert.deepEqual(answer.json().samples, model.history());
  assert.equal(answer.json().samples[0].rates.exports, 2);
});

test('the incidents answer has the remedy of each kind', async (t) => {
  const { app } = await build(t);
  const answer = (await app.inject('/api/v1/incidents')).json();
  assert.ok(Value.Check(IncidentsAnswer, answer));
  const kinds = [...new Set(answer.incidents.map(({ kind }: { kind: string }) => kind))];
  assert.deepEqual(Object.keys(answer.kinds).sort(), kinds.sort());
  assert.ok(kinds.length > 0);
  for (const entry of Object.values(answer.kinds))
    assert.match((entry as { remedy: string }).remedy, /\w{3}/);
});

test('every answer except files of the page forbids content sniffing and caching', async (t) => {
  const { app } = await build(t);
  for (const url of ['/', '/metrics', '/api/v1/status', '/nowhere']) {
    const { headers } = await app.inject(url);
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['cache-control'], 'no-store');
  }
});
