import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { TracerError } from '../../src/lib/errors.ts';
import { eventually } from '../fixtures/eventually.ts';
import {
  collectorLine,
  counterLine,
  exported,
  HEADER,
  heartbeat,
  ready,
  starting,
} from '../fixtures/stream-lines.ts';
import { collecting, cut, joinedBy, path, proxy, reading, SECOND, TRACING } from './collecting.ts';

const LOSS = collectorLine('loss', { t: SECOND, stage: 'queue', count: 3 });

test('a reader that was disconnected continues with the next line', async (t) => {
  const at = await path(t);
  const collector = await collecting(t, at);
  const cable = await proxy(t, at, `${at}.proxy`);
  const reader = reading(t, `${at}.proxy`);
  const lines = [...TRACING];
  await joinedBy(collector);
  collector.write(...TRACING);
  for (let round = 0; round < 5; round += 1) {
    await eventually(() => assert.deepEqual(reader.raws(), lines));
    cut(cable.sockets);
    const more = Array.from({ length: 20 }, (_, index) =>
      exported({ t: SECOND, inode: 1 + round * 20 + index }),
    );
    lines.push(...more);
    collector.write(...more);
  }
  collector.write(heartbeat(2 * SECOND, 100), heartbeat(3 * SECOND, 100));
  await eventually(() => assert.deepEqual(reader.raws().length, lines.length + 2));
  const { losses, eventsReceived } = reader.model.accounting;
  assert.deepEqual([eventsReceived, losses.kernel_ring, losses.relay], [100, 0, 0]);
});

test('a reader whose lines are not kept any more gets the state, and nothing is counted twice', async (t) => {
  const at = await path(t);
  const collector = await collecting(t, at, { keptBytes: 2000 });
  const cable = await proxy(t, at, `${at}.proxy`);
  const reader = reading(t, `${at}.proxy`);
  await joinedBy(collector);
  collector.write(...TRACING, LOSS, counterLine('exports', '16640,1', 5), heartbeat(2 * SECOND, 5 + 3));
  await eventually(() => assert.equal(reader.raws().length, 6));
  const before = reader.model.accounting.losses;
  cable.blocked = true;
  cut(cable.sockets);
  for (let inode = 1; inode <= 100; inode += 1) collector.write(exported({ t: 3 * SECOND, inode }));
  await eventually(() => assert.equal(collector.relay.readers, 0));
  cable.blocked = false;
  await eventually(() => assert.equal(collector.relay.readers, 1));
  collector.write(
    heartbeat(4 * SECOND, 108),
    heartbeat(5 * SECOND, 108),
    counterLine('exports', '16640,1', 105),
  );
  await eventually(() => assert.equal(reader.model.counters.totals.counters.exports, 105));
  const { accounting, bufferStateExact } = reader.model;
  assert.deepEqual(accounting.losses, before);
  assert.equal(accounting.losses.queue, 3);
  assert.deepEqual([accounting.generation, accounting.blindSeconds, bufferStateExact], [1, 0, false]);
  assert.equal(reader.raws().filter((raw) => raw === starting(SECOND, 1)).length, 1);
  const joined = reader.lines.flatMap(({ record }) => (record.type === 'joined' ? [record.data] : []));
  // The state is the loss line and the start of the child.
  // It has joined before the header. The state is the loss line and the start of the child.
  assert.deepEqual(
    joined.map(({ next, missed, state }) => ({ next, missed, state })),
    [
      { next: 1, missed: 0, state: 0 },
      { next: 106, missed: 100, state: 2 },
    ],
  );
});

test('a reader continues with a new collector, whose losses and counts are added to those of the old one', async (t) => {
  const at = await path(t);
  const first = await collecting(t, at);
  const reader = reading(t, at);
  await joinedBy(first);
  first.write(...TRACING, LOSS, counterLine('exports', '16640,1', 5), heartbeat(2 * SECOND, 0));
  await eventually(() => assert.equal(reader.raws().length, 6));
  await first.socket.stop();
  await first.relay.stop(10_000);
  const second = await collecting(t, at);
  await joinedBy(second);
  const header = HEADER.replace('"t":1000000', '"t":9000000');
  second.write(
    header,
    LOSS,
    starting(9 * SECOND, 1),
    ready(10 * SECOND),
    counterLine('exports', '16640,1', 2),
  );
  await eventually(() => assert.equal(reader.model.counters.totals.counters.exports, 7));
  const { losses, generation, blindSeconds } = reader.model.accounting;
  assert.deepEqual([losses.queue, generation, blindSeconds], [6, 2, 8]);
  assert.ok(reader.logged.some((text) => text.startsWith('the connection to the collector is lost')));
});

test('a reader that starts first waits for the collector', async (t) => {
  const at = await path(t);
  const reader = reading(t, at);
  await eventually(() =>
    assert.match(reader.logged[0] ?? '', /the collector does not answer: ENOENT; retrying/),
  );
  const collector = await collecting(t, at);
  await joinedBy(collector);
  collector.write(...TRACING);
  await eventually(() => assert.deepEqual(reader.raws(), TRACING));
  assert.equal(reader.logged.length, 2, 'it does not log each try');
});

test('a state that was cut off is requested again', async (t) => {
  const at = await path(t);
  const collector = await collecting(t, at);
  collector.write(...TRACING, LOSS);
  const requests: string[] = [];
  // A collector that fails after the first line of the state, then the real one.
  const fake = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      requests.push(String(chunk));
      const stream = collector.relay.id;
      const joined = collectorLine('joined', { t: SECOND, stream, next: 4, missed: 0, state: 2 });
      if (requests.length === 1) socket.end(`${HEADER}\n${joined}\n${LOSS}\n{"type":"chi`);
      else
        socket.pipe(
          connect(at, function (this: Socket) {
            this.write(chunk);
            this.pipe(socket);
          }),
        );
    });
  });
  await new Promise<void>((resolve) => fake.listen(`${at}.fake`, resolve));
  t.after(() => fake.close());
  const reader = reading(t, `${at}.fake`);
  await eventually(() => assert.deepEqual(reader.raws(), [HEADER, LOSS, LOSS, starting(SECOND, 1)]));
  assert.deepEqual(
    requests.slice(0, 2).map((text) => JSON.parse(text)),
    [{}, { stream: collector.relay.id, next: 4, state: true }],
  );
  const { losses, lastLossAt } = reader.model.accounting;
  assert.deepEqual([losses.queue, lastLossAt], [3, 60 * SECOND]);
  await reader.stop();
});

test('what is not a collector is an error', async (t) => {
  const at = await path(t);
  const server = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  await new Promise<void>((resolve) => server.listen(at, resolve));
  t.after(() => server.close());
  await assert.rejects(
    reading(t, at).running,
    (error) => error instanceof TracerError && /not a collector/.test(error.message),
  );
});
