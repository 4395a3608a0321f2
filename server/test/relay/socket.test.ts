import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { TracerError } from '../../src/lib/errors.ts';
import type { StreamLine } from '../../src/protocol/stream-line.ts';
import { streamLine } from '../../src/protocol/stream-line.ts';
import { SocketSource } from '../../src/relay/client.ts';
import { Relay } from '../../src/relay/relay.ts';
import { RelaySocket, type RelaySocketOptions } from '../../src/relay/socket.ts';
import { eventually } from '../fixtures/eventually.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { feed } from '../fixtures/feed.ts';
import {
  collectorLine,
  counterLine,
  exported,
  HEADER,
  heartbeat,
  ready,
  starting,
} from '../fixtures/stream-lines.ts';

const SECOND = 1_000_000;
const TRACING = [HEADER, starting(SECOND, 1), ready(SECOND)];
const LOSS = collectorLine('loss', { t: SECOND, stage: 'queue', count: 3 });

interface Collecting {
  relay: Relay;
  socket: RelaySocket;
  warnings: string[];
  write: (...lines: string[]) => void;
}

/** A collector that listens at this path. */
async function collecting(
  t: TestContext,
  path: string,
  options: Partial<RelaySocketOptions> & { keptBytes?: number } = {},
): Promise<Collecting> {
  const { keptBytes = 1 << 20, ...rest } = options;
  const relay = new Relay({ bootUs: () => 60 * SECOND, onResync: () => {}, keptBytes });
  const warnings: string[] = [];
  const socket = new RelaySocket({
    relay,
    path,
    gid: null,
    logger: { info: () => {}, warn: (_fields: unknown, text = '') => void warnings.push(text) },
    ...rest,
  });
  await socket.start();
  t.after(async () => {
    await socket.stop();
    await relay.stop(100);
  });
  const write = (...lines: string[]): void => {
    for (const line of lines) relay.write(streamLine(line));
  };
  return { relay, socket, warnings, write };
}

/** A reader with its model; `stop` ends it. */
function reading(t: TestContext, path: string) {
  const lines: StreamLine[] = [];
  const logged: string[] = [];
  const { model, more } = feed([]);
  const controller = new AbortController();
  const log = (_fields: unknown, text = ''): void => void logged.push(text);
  const source = new SocketSource({
    path,
    clock: systemClock,
    logger: { info: log, warn: log },
    retry: { initialMs: 5, maxMs: 20 },
  });
  const running = source.run((line) => {
    lines.push(line);
    more(line.raw);
  }, controller.signal);
  running.catch(() => {});
  const stop = async (): Promise<void> => {
    controller.abort();
    await running;
  };
  t.after(() => controller.abort());
  const raws = (): string[] =>
    lines.map(({ raw }) => raw).filter((raw) => !raw.startsWith('{"type":"joined"'));
  return { raws, lines, model, logged, running, stop };
}

async function path(t: TestContext): Promise<string> {
  return join(await temporaryFolder(t), 'stream.sock');
}

function isUnavailable(text: RegExp): (error: unknown) => boolean {
  return (error) =>
    error instanceof TracerError && error.code === 'address_unavailable' && text.test(error.describe());
}

/** Waits until one reader has joined: it gets every line from the start. */
async function joinedBy({ relay }: Collecting): Promise<void> {
  await eventually(() => assert.equal(relay.readers, 1));
}

/** Cuts all connections, as if a reader had failed. The collector notices it when it writes next. */
function cut(sockets: Socket[]): void {
  for (const socket of sockets.splice(0)) socket.destroy();
}

/** Passes connections on to the collector, so that a test can cut them. */
async function proxy(
  t: TestContext,
  target: string,
  at: string,
): Promise<{ sockets: Socket[]; blocked: boolean }> {
  const state = { sockets: [] as Socket[], blocked: false };
  const server = createServer((socket) => {
    if (state.blocked) {
      socket.destroy();
      return;
    }
    const other = connect(target);
    state.sockets.push(socket, other);
    for (const one of [socket, other]) one.on('error', () => {});
    socket.pipe(other);
    other.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(at, resolve));
  t.after(() => {
    server.close();
    for (const socket of state.sockets) socket.destroy();
  });
  return state;
}

test('the socket has mode 0660, nothing else is left in its folder, and it is removed at the stop', async (t) => {
  const at = await path(t);
  const gid = process.getgroups?.().at(-1) ?? 0;
  const { socket } = await collecting(t, at, { gid });
  const found = await stat(at);
  assert.equal(found.mode & 0o777, 0o660);
  assert.equal(found.gid, gid);
  assert.ok(found.isSocket());
  assert.deepEqual(await readdir(join(at, '..')), ['stream.sock']);
  await socket.stop();
  assert.deepEqual(await readdir(join(at, '..')), []);
});

test('the folder of the socket is created, but not the folder above it', async (t) => {
  const folder = await temporaryFolder(t);
  const { socket } = await collecting(t, join(folder, 'run', 'stream.sock'));
  assert.equal((await stat(join(folder, 'run'))).mode & 0o777, 0o755 & ~process.umask());
  await socket.stop();
  await assert.rejects(
    collecting(t, join(folder, 'none', 'run', 'stream.sock')),
    isUnavailable(/ENOENT[\s\S]*where: .*stream\.sock[\s\S]*fix: create the folder/),
  );
});

test('a socket on which nobody answers is replaced, and one on which a collector answers is kept', async (t) => {
  const at = await path(t);
  const first = await collecting(t, at);
  await assert.rejects(collecting(t, at), isUnavailable(/another collector listens/));
  const reader = reading(t, at);
  await joinedBy(first);
  first.write(...TRACING);
  await eventually(() => assert.deepEqual(reader.raws(), TRACING));
  await reader.stop();
  await first.socket.stop();

  // A collector that was killed leaves its socket behind. Node removes the name under which a server was created.
  const dead = createServer();
  await new Promise<void>((resolve) => dead.listen(join(at, '..', 'dead'), resolve));
  const { link } = await import('node:fs/promises');
  await link(join(at, '..', 'dead'), at);
  await new Promise((resolve) => dead.close(resolve));
  assert.ok((await stat(at)).isSocket());
  const second = await collecting(t, at);
  const other = reading(t, at);
  await joinedBy(second);
  second.write(...TRACING);
  await eventually(() => assert.deepEqual(other.raws(), TRACING));
});

test('a file, a folder or a link at the path is kept', async (t) => {
  const folder = await temporaryFolder(t);
  const at = join(folder, 'stream.sock');
  await writeFile(at, 'important');
  await assert.rejects(collecting(t, at), isUnavailable(/is not a socket; it is kept/));
  assert.equal(await readFile(at, 'utf8'), 'important');
  await mkdir(join(folder, 'directory.sock'));
  await assert.rejects(collecting(t, join(folder, 'directory.sock')), isUnavailable(/is not a socket/));
  await symlink(at, join(folder, 'link.sock'));
  await assert.rejects(collecting(t, join(folder, 'link.sock')), isUnavailable(/is not a socket/));
  assert.deepEqual((await readdir(folder)).sort(), ['directory.sock', 'link.sock', 'stream.sock']);
});

test('a collector that stops does not remove the socket of another one', async (t) => {
  const at = await path(t);
  const first = await collecting(t, at);
  const { unlink } = await import('node:fs/promises');
  await unlink(at);
  await collecting(t, at);
  await first.socket.stop();
  assert.ok((await stat(at)).isSocket());
});

test('a path that is too long is rejected', async (t) => {
  const at = join(await temporaryFolder(t), `${'x'.repeat(100)}.sock`);
  await assert.rejects(collecting(t, at), isUnavailable(/too long/));
});

/** Sends this text to the socket, and returns all that it answers until it closes the connection. */
function ask(at: string, text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(at, () => socket.end(text));
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(answer));
  });
}

test('a reader that sends no valid request is disconnected', async (t) => {
  const at = await path(t);
  const { write, warnings, relay } = await collecting(t, at, { requestMs: 50 });
  write(...TRACING);
  const requests = [
    'nonsense\n',
    '[]\n',
    '{"next":-1}\n',
    '{"stream":7}\n',
    `{"x":"${'y'.repeat(600)}"}\n`,
    '{}',
  ];
  for (const request of requests) assert.equal(await ask(at, request), '', request);
  assert.equal(warnings.length, requests.length);
  // One that sends nothing does not stay connected.
  const idle = connect(at);
  await new Promise((resolve) => idle.once('close', resolve));
  assert.match(warnings.at(-1) ?? '', /in time/);
  assert.equal(relay.readers, 0);
});

test('a reader may end its side after the request, and gets the stream until the collector ends', async (t) => {
  const at = await path(t);
  const { write, relay, socket } = await collecting(t, at);
  write(...TRACING);
  const answer = ask(at, '{}\n');
  await eventually(() => assert.equal(relay.readers, 1));
  write(heartbeat(2 * SECOND, 0));
  await socket.stop();
  await relay.stop(10_000);
  const lines = (await answer).trimEnd().split('\n');
  assert.deepEqual([lines[0], ...lines.slice(2)], [HEADER, starting(SECOND, 1), heartbeat(2 * SECOND, 0)]);
  assert.equal(streamLine(lines[1] ?? '').record.type, 'joined');
});

test('a reader beyond the limit is disconnected, and connects again when there is room', async (t) => {
  const at = await path(t);
  const { write, warnings } = await collecting(t, at, { maxReaders: 1 });
  write(...TRACING);
  const first = reading(t, at);
  await eventually(() => assert.equal(first.raws().length, 2));
  const second = reading(t, at);
  await eventually(() => assert.ok(warnings.includes('rejected a reader: too many are connected')));
  assert.deepEqual(second.lines, []);
  await first.stop();
  write(heartbeat(SECOND, 0));
  await eventually(() => {
    write(heartbeat(SECOND, 0));
    assert.ok(second.raws().length > 2);
  });
});

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
