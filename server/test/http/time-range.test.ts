import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { EventsAnswer, RejectionsAnswer } from '../../src/contract/answers.ts';
import { exported, HEADER, heartbeat, imported, ready, starting } from '../fixtures/stream-lines.ts';
import { type BuildOptions, build } from './build.ts';

const SECOND = 1_000_000;
/** One rejection every 10 s, from 10 to 60 s after boot. The stream ends at 100 s. */
const LINES = [
  HEADER,
  starting(1, 1),
  ready(2),
  exported({ t: 3, inode: 7 }),
  ...[10, 20, 30, 40, 50, 60].map((s) =>
    imported({
      t: s * SECOND,
      inode: 7,
      stage: 'attach',
      importer: 'vgem',
      errno: 95,
      reason: 'no_peer_to_peer',
    }),
  ),
  heartbeat(100 * SECOND, 7),
];

async function asker(t: TestContext, path: string, schema: TSchema, options: BuildOptions = {}) {
  const { app, model } = await build(t, { lines: LINES, ...options });
  const now = Date.parse(model.status().now);
  const ask = async (query: string) => {
    const answer = await app.inject(`/api/v1/${path}?${query}`);
    assert.equal(answer.statusCode, 200, answer.body);
    assert.ok(Value.Check(schema, answer.json()), answer.body);
    return answer.json();
  };
  /** The time this many seconds before the end of the stream. */
  const at = (secondsAgo: number) => new Date(now - secondsAgo * 1000).toISOString();
  return { app, ask, at };
}

test('rejections are filtered by a time range of ages or dates, and both ends are included', async (t) => {
  const { ask, at } = await asker(t, 'rejections', RejectionsAnswer);
  const countOf = async (query: string) => (await ask(query)).rejections.length;
  assert.equal(await countOf('since=60s'), 3);
  assert.equal(await countOf('since=1m&until=50s'), 2);
  assert.equal(await countOf('until=70s'), 3);
  assert.equal(await countOf(`since=${at(60)}&until=${at(40)}`), 3);
  assert.equal(await countOf('since=39s'), 0);
  assert.equal(await countOf('since=1h&importer=mlx5_core'), 0);
  const { since, until } = await ask('since=60s');
  assert.deepEqual([since, until], [at(60), null]);
  const plus = encodeURIComponent(at(60).replace('Z', '+00:00'));
  assert.equal(await countOf(`since=${plus}`), 3);
});

test('events are filtered by a time range, and the cursor works within it', async (t) => {
  const { ask, at } = await asker(t, 'events', EventsAnswer);
  const all = await ask('since=60s&kind=import');
  assert.equal(all.events.length, 3);
  assert.deepEqual(
    [all.oldest_time, all.since, all.incomplete],
    [(await ask('limit=1')).events[0].time, at(60), []],
  );
  const first = await ask('since=60s&kind=import&limit=2');
  assert.deepEqual([first.events.length, first.more, first.incomplete], [2, true, ['limit']]);
  assert.equal((await ask(`since=60s&kind=import&after=${first.next}`)).events.length, 1);
});

test('an answer lists the reasons why it may be incomplete', async (t) => {
  const whole = await asker(t, 'rejections', RejectionsAnswer);
  assert.deepEqual((await whole.ask('since=60s')).incomplete, []);
  assert.deepEqual((await whole.ask('limit=6')).incomplete, []);
  assert.deepEqual((await whole.ask('limit=5')).incomplete, ['limit']);
  const small = await asker(t, 'rejections', RejectionsAnswer, { keep: 4 });
  assert.deepEqual((await small.ask('')).incomplete, ['evicted']);
  assert.deepEqual((await small.ask('since=95s')).incomplete, ['evicted']);
  assert.deepEqual((await small.ask('since=60s')).incomplete, []);
  assert.deepEqual([(await small.ask('')).oldest, (await small.ask('')).oldest_time], [4, small.at(70)]);
  const lossy = await asker(t, 'rejections', RejectionsAnswer, {
    lines: [...LINES, heartbeat(101 * SECOND, 9)],
  });
  assert.deepEqual((await lossy.ask('since=60s')).incomplete, ['lost']);
  const empty = await asker(t, 'rejections', RejectionsAnswer, { lines: [] });
  assert.deepEqual([(await empty.ask('since=1h')).oldest_time, (await empty.ask('')).incomplete], [null, []]);
});

for (const [query, message] of [
  ['since=yesterday', /since cannot be "yesterday"/],
  ['since=1w', /since cannot be "1w"/],
  ['until=2026-13-01T00:00:00Z', /until cannot be .*no such time/],
  ['since=999999999d', /since cannot be .*no such time/],
  ['since=', /since cannot be ""/],
  ['since=1h&until=2h', /since \(1h\) is after until \(2h\)/],
] as const) {
  for (const path of ['rejections', 'events']) {
    test(`/api/v1/${path}?${query} is rejected with a hint`, async (t) => {
      const { app } = await build(t);
      const answer = await app.inject(`/api/v1/${path}?${query}`);
      assert.equal(answer.statusCode, 400, answer.body);
      assert.match(answer.json().error.message, message);
      assert.match(answer.json().error.hint, /2026-11-27T08:00:00Z|before until/);
    });
  }
}
