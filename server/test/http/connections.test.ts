import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { arrivalOf, Connections, connectionLimit, DEFAULT_LIMITS } from '../../src/http/connections.ts';
import { SharedAnswers } from '../../src/http/routes/metrics.ts';
import { descriptorLimit } from '../../src/lib/descriptors.ts';
import { eventually } from '../fixtures/eventually.ts';
import { build } from './build.ts';
import { BIG, RawClient, serve } from './raw-client.ts';

function times<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

test('pipelined requests are answered in order', async (t) => {
  const { open } = await serve(t);
  const client = open().get('/-/healthy', '/nowhere', '/-/ready', '/api/v1/status', '/-/healthy');
  await eventually(() => assert.deepEqual(client.statuses, [200, 404, 200, 200, 200]));
});

test('scrapes that are pipelined behind unread answers do not use up the slots for scrapes', async (t) => {
  const { open, status, server } = await serve(t, { maxRequests: 40 });
  const client = open().stopReading();
  client.get(...times(120, () => '/openapi.json'), ...times(40, () => '/metrics'));
  await eventually(() => assert.equal(server.connections.dropped.pipelining, 1));
  assert.equal(await status('/metrics'), 200);
  client.socket.destroy();
  assert.equal(await status('/metrics'), 200);
});

test('a connection has a limit of pending requests, so that other clients are answered', async (t) => {
  const { open, status, handled, server, log_lines } = await serve(t);
  const paths = [
    '/api/v1/buffers',
    '/api/v1/topology',
    '/',
    '/openapi.json',
    '/api/v1/history',
    '/nowhere',
    '/metrics',
  ];
  for (const path of paths)
    open()
      .stopReading()
      .get(...times(1400, () => path));
  await eventually(() => assert.equal(server.connections.dropped.pipelining, paths.length));
  assert.ok(handled.length <= paths.length * (DEFAULT_LIMITS.waiting + 1), `${handled.length} were handled`);
  assert.equal(await status('/metrics'), 200);
  assert.equal(log_lines.filter(({ reason }) => reason === 'pipelining').length, 1, 'logged once a minute');
});

/** Connections whose handler only records each request with its turn of the event loop. */
function recording() {
  const recorded = { turn: 0, handled: [] as { url: string; turn: number }[] };
  const connections = new Connections({
    limits: DEFAULT_LIMITS,
    handle: ({ url = '' }) => recorded.handled.push({ url, turn: recorded.turn }),
    isUrgent: ({ url }) => url === '/metrics',
    onDropped: () => assert.fail('nothing is dropped'),
  });
  const accept = (): EventEmitter => {
    const socket = Object.assign(new EventEmitter(), { writable: true, destroyed: false });
    connections.accept(socket as unknown as Socket);
    return socket;
  };
  const get = (url: string): void => {
    const exchange: unknown = [{ url, socket: accept() }, new EventEmitter()];
    connections.receive(...(exchange as [IncomingMessage, ServerResponse]));
  };
  const nextTurn = async (): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve));
    recorded.turn += 1;
  };
  return { recorded, accept, get, nextTurn };
}

test('each turn of the event loop answers one request, and a scrape waits for at most one other request', async () => {
  const { recorded, get, nextTurn } = recording();
  for (const url of [...times(20, () => '/api/v1/buffers'), '/metrics']) get(url);
  assert.equal(recorded.handled.length, 0);
  while (recorded.handled.length < 21 && recorded.turn < 100) await nextTurn();
  assert.equal(new Set(recorded.handled.map((one) => one.turn)).size, 21, 'each in a separate turn');
  assert.ok(recorded.handled.findIndex(({ url }) => url === '/metrics') <= 1);
});

test('pending connections are accepted before requests are answered, but they cannot delay requests forever', async () => {
  const { recorded, accept, get, nextTurn } = recording();
  get('/api/v1/buffers');
  for (let turn = 0; turn < 10; turn++) {
    accept();
    await nextTurn();
  }
  assert.equal(recorded.handled.length, 0);
  for (let turn = 0; turn < 100; turn++) {
    accept();
    await nextTurn();
  }
  assert.equal(recorded.handled.length, 1);
});

test('a connection whose answer is not read in time is closed, an event stream stays open', async (t) => {
  const { open, server, log_lines, log } = await serve(t, {
    limits: { answerSweeps: 3, sweepMs: 20, pendingBytes: Number.POSITIVE_INFINITY },
  });
  const reader = open().get('/api/v1/stream');
  await eventually(() => assert.match(reader.text, /stream of log/));
  const slow = times(3, () => open().stopReading().get('/big'));
  await eventually(() => assert.equal(server.connections.dropped.slow, slow.length));
  assert.equal(log_lines.filter(({ reason }) => reason === 'slow').length, 1);
  assert.equal(reader.closed, false);
  assert.equal(server.connections.size, 1);
  assert.ok(log.newest > 0);
});

test('a scrape whose answer is not read does not occupy a slot', async (t) => {
  const values = [{ labels: {}, value: 1 }];
  const metrics = { families: async () => [{ name: 'big', help: BIG, type: 'gauge' as const, values }] };
  const { open, status, handled } = await serve(t, { maxRequests: 2, metrics });
  for (let more = 1; more <= 3; more++) {
    open().stopReading().get('/metrics');
    await eventually(() => assert.equal(handled.length, more));
  }
  assert.equal(await status('/metrics'), 200);
});

test('scrapes that arrived before an answer was started share it, a later one gets a new answer', async () => {
  let made = 0;
  const answers = new SharedAnswers({
    families: async () => {
      made += 1;
      return [{ name: 'made', help: 'h', type: 'gauge', values: [{ labels: {}, value: made }] }];
    },
  });
  const early = performance.now() - 1;
  const first = answers.get('text', false, early);
  assert.equal(answers.get('text', false, early), first);
  assert.notEqual(answers.get('openmetrics', false, early), first);
  assert.notEqual(answers.get('text', true, early), first);
  assert.match((await answers.get('text', false, early)).toString(), /^made 1$/m);
  assert.equal(made, 3);
  assert.match((await answers.get('text', false, performance.now() + 1)).toString(), /^made 4$/m);
  assert.match((await answers.get('text', false, undefined)).toString(), /^made 5$/m);
});

test('an answer that failed is not shared', async () => {
  let fails = true;
  const answers = new SharedAnswers({
    families: async () => {
      if (fails) throw new Error('inside');
      return [];
    },
  });
  const early = performance.now() - 1;
  await assert.rejects(answers.get('text', false, early), /inside/);
  fails = false;
  assert.equal((await answers.get('text', false, early)).toString(), '');
});

test('arrivalOf returns when the server received a request', async (t) => {
  const { app, open } = await serve(t, {
    onRoute: (route) => {
      const before = performance.now();
      if (route.url === '/-/ready') {
        route.onRequest = (request, _reply, done) => {
          arrived.push((arrivalOf(request.raw) ?? 0) >= before);
          done();
        };
      }
    },
  });
  const arrived: boolean[] = [];
  const client = open().get('/-/ready');
  await eventually(() => assert.deepEqual(client.statuses, [200]));
  await app.inject('/-/ready');
  assert.deepEqual(arrived, [true, false]);
});

test('a scrape that fails frees its slot', async (t) => {
  const metrics = { families: () => Promise.reject(new Error('inside')) };
  const { app } = await build(t, { maxRequests: 1, metrics });
  for (let more = 0; more < 3; more++) assert.equal((await app.inject('/metrics')).statusCode, 500);
});

test('unsent bytes are limited: the oldest answer is dropped first, the newest never', async (t) => {
  const limits = { pendingBytes: BIG.length / 2, sweepMs: 20, answerSweeps: 1e9 };
  const { open, server, status } = await serve(t, { limits });
  const clients: RawClient[] = [];
  for (let more = 1; more <= 4; more++) {
    clients.push(open().stopReading().get('/big'));
    await eventually(() => {
      const { dropped, size } = server.connections;
      assert.deepEqual([dropped.memory, size], [more - 1, 1]);
    });
  }
  clients.at(-1)?.socket.resume();
  await eventually(() =>
    assert.ok((clients.at(-1)?.text.length ?? 0) > BIG.length, 'the newest answer is complete'),
  );
  assert.equal(await status('/-/healthy'), 200);
});

for (const [name, first] of [
  ['without a request', undefined],
  ['after one request', '/-/healthy'],
  ['with an incomplete header', ''],
] as const) {
  test(`at the limit the oldest idle connection ${name} is closed for a new one`, async (t) => {
    const { open, server, status, log_lines } = await serve(t, { limits: { connections: 8 } });
    const clients: RawClient[] = [];
    for (let more = 1; more <= 8; more++) {
      const client = open();
      clients.push(client);
      if (first === '') client.socket.write('GET /metr');
      else if (first !== undefined) {
        client.get(first);
        await eventually(() => assert.deepEqual(client.statuses, [200]));
      }
      await eventually(() => assert.equal(server.connections.size, more));
    }
    for (let more = 1; more <= 3; more++) {
      assert.equal(await status('/metrics'), 200);
      await eventually(() => assert.equal(clients.filter(({ closed }) => closed).length, more));
      // The connection of the scrape is closed.
      await eventually(() => assert.equal(server.connections.size, 7));
      clients.push(open());
      await eventually(() => assert.equal(server.connections.size, 8));
    }
    assert.deepEqual(
      clients.map(({ closed }) => closed),
      [true, true, true, ...times(8, () => false)],
    );
    assert.equal(server.connections.dropped.limit, 3);
    assert.equal(log_lines.filter(({ reason }) => reason === 'limit').length, 1, 'logged once a minute');
  });
}

test('at the limit a connection with an unread answer is closed for a new one, an event stream is not', async (t) => {
  const { open, server, status, handled } = await serve(t, {
    limits: { connections: 2, sweepMs: 20, answerSweeps: 1e9 },
  });
  const reader = open().get('/api/v1/stream');
  await eventually(() => assert.match(reader.text, /stream of log/));
  open().stopReading().get('/big');
  await eventually(() => assert.ok(handled.includes('/big')));
  await eventually(async () => assert.equal(await status('/-/healthy').catch(() => 0), 200));
  assert.equal(reader.closed, false);
  const { limit, slow, memory } = server.connections.dropped;
  assert.ok(limit >= 1);
  assert.deepEqual([slow, memory], [0, 0]);
});

test('streams that are pipelined behind an unread answer free their places when the connection closes', async (t) => {
  const { app, hub } = await build(t, { lines: [] });
  app.get('/big', () => BIG);
  await app.ready();
  // A plain server without Connections handles all pipelined requests at once.
  const server = createServer((request, response) => app.routing(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const client = new RawClient((server.address() as AddressInfo).port).stopReading();
  client.get('/big', ...times(5, () => '/api/v1/stream'));
  await eventually(() => assert.equal(hub.clients, 5));
  client.socket.destroy();
  await eventually(() => assert.equal(hub.clients, 0));
});

test('a stop closes idle connections and connections with a pending answer', async (t) => {
  const { open, server } = await serve(t);
  const idle = open().get('/-/healthy');
  await eventually(() => assert.deepEqual(idle.statuses, [200]));
  const busy = open().get('/-/healthy', '/-/ready', '/api/v1/status');
  await eventually(() => assert.ok(busy.statuses.length > 0));
  await server.stop();
  await eventually(() => assert.deepEqual([idle.closed, busy.closed], [true, true]));
});

test('the limit of connections leaves file descriptors to the rest of the daemon', () => {
  assert.equal(connectionLimit(1024), 896);
  assert.equal(connectionLimit(200), 72);
  assert.equal(connectionLimit(10), 16);
  assert.equal(connectionLimit(524_288), 1024);
  assert.equal(connectionLimit(Number.POSITIVE_INFINITY), 1024);
});

test('descriptorLimit returns the soft limit of open files of this process', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'limits-'));
  t.after(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, 'self'));
  const limits = (soft: string) =>
    writeFileSync(
      join(root, 'self/limits'),
      `Limit                     Soft Limit           Hard Limit           Units\nMax open files            ${soft.padEnd(20)} 524288               files\n`,
    );
  limits('1024');
  assert.equal(descriptorLimit(root), 1024);
  limits('unlimited');
  assert.equal(descriptorLimit(root), Number.POSITIVE_INFINITY);
  assert.equal(descriptorLimit(join(root, 'none')), Number.POSITIVE_INFINITY);
  assert.ok(descriptorLimit() > 0);
});
