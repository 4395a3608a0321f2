import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { createServer, get, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { StreamHub } from '../../src/http/sse/hub.ts';
import { EventLog } from '../../src/sinks/event-log.ts';
import { eventually } from '../fixtures/eventually.ts';
import { type BuildOptions, type Built, build, releaseEvent } from './build.ts';

interface Message {
  event: string;
  id: string;
  data: Record<string, unknown>;
}

/** A stream client that keeps all received text. */
class Reader {
  readonly response: IncomingMessage;
  text = '';
  closed = false;

  constructor(response: IncomingMessage) {
    this.response = response;
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      this.text += chunk;
    });
    response.on('close', () => {
      this.closed = true;
    });
    response.on('error', () => {});
  }

  get messages(): Message[] {
    return [...this.text.matchAll(/event: (.*)\nid: (.*)\ndata: (.*)\n\n/g)].map((match) => ({
      event: match[1] ?? '',
      id: match[2] ?? '',
      data: JSON.parse(match[3] ?? '{}'),
    }));
  }
}

async function until(condition: () => boolean, what: string): Promise<void> {
  await eventually(() => assert.ok(condition(), `timed out waiting for ${what}`), 5);
}

async function serve(t: TestContext, options: BuildOptions = {}) {
  const built: Built = await build(t, { lines: [], ...options });
  await built.app.ready();
  const server: Server = createServer((request, response) => built.app.routing(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const open = (query = '', headers: Record<string, string> = {}) =>
    new Promise<Reader>((resolve, reject) => {
      const request = get({ port, host: '127.0.0.1', path: `/api/v1/stream${query}`, headers }, (response) =>
        resolve(new Reader(response)),
      );
      request.on('error', reject);
    });
  return { ...built, open };
}

function append(log: EventLog, count: number): void {
  for (let index = 0; index < count; index++) log.append(releaseEvent(log.newest + 1));
}

test('a client without a cursor gets all new events, each with its id', async (t) => {
  const { log, open } = await serve(t);
  append(log, 2);
  const reader = await open();
  assert.match(reader.response.headers['content-type'] ?? '', /^text\/event-stream/);
  assert.equal(reader.response.headers['x-content-type-options'], 'nosniff');
  append(log, 2);
  await until(() => reader.messages.length === 2, 'two events');
  assert.deepEqual(
    reader.messages.map(({ event, id }) => [event, id]),
    [
      ['release', 'log1.3'],
      ['release', 'log1.4'],
    ],
  );
  assert.deepEqual(reader.messages[0]?.data, { ...releaseEvent(3) });
});

test('a client that reconnects with Last-Event-ID continues after that event', async (t) => {
  const { log, open } = await serve(t);
  append(log, 5);
  const reader = await open('', { 'last-event-id': 'log1.3' });
  await until(() => reader.messages.length === 2, 'the missed events');
  assert.deepEqual(
    reader.messages.map(({ id }) => id),
    ['log1.4', 'log1.5'],
  );
});

test('a client that reconnects too late gets the number of evicted events, and they are counted', async (t) => {
  const { log, hub, open } = await serve(t, { keep: 3 });
  append(log, 10);
  const reader = await open('', { 'last-event-id': 'log1.2' });
  await until(() => reader.messages.length === 4, 'the kept events');
  assert.equal(reader.messages[0]?.event, 'dropped');
  assert.equal(reader.messages[0]?.data.count, 5);
  assert.equal(reader.messages[1]?.id, 'log1.8');
  assert.equal(hub.dropped, 5);
});

test('a client with a cursor from another log gets a reset event and all kept events', async (t) => {
  const { log, open } = await serve(t);
  append(log, 2);
  const reader = await open('', { 'last-event-id': 'before.1' });
  await until(() => reader.messages.length === 3, 'all events');
  assert.deepEqual(
    reader.messages.map(({ event }) => event),
    ['reset', 'release', 'release'],
  );
});

test('a reset counts no event as dropped, even if the client reconnects right after it', async (t) => {
  const { log, hub, open } = await serve(t, { keep: 3 });
  append(log, 10);
  const reader = await open('', { 'last-event-id': 'before.1' });
  await until(() => reader.messages.length === 4, 'the kept events');
  assert.deepEqual(
    reader.messages.map(({ event, id }) => [event, id]),
    [
      ['reset', 'log1.7'],
      ['release', 'log1.8'],
      ['release', 'log1.9'],
      ['release', 'log1.10'],
    ],
  );
  const again = await open('', { 'last-event-id': reader.messages[0]?.id ?? '' });
  await until(() => again.messages.length === 3, 'the kept events');
  const beyond = await open('', { 'last-event-id': 'log1.999' });
  await until(() => beyond.messages.length === 4, 'the kept events');
  assert.equal(hub.dropped, 0);
});

test('the hub yields to the event loop between writes to many clients that are far behind', async () => {
  const log = new EventLog({ keep: 10_000, id: 'log1' });
  append(log, 10_000);
  const hub = new StreamHub({ log });
  let written = 0;
  const last = `id: log1.${log.newest}\n`;
  const clients = Array.from({ length: 64 }, () => {
    const client = Object.assign(new EventEmitter(), {
      whole: false,
      req: { socket: new EventEmitter() },
      writeHead: () => {},
      end: () => {},
      write: (text: string) => {
        written += text.length;
        client.whole ||= text.includes(last);
        return true;
      },
    });
    hub.attach(client as unknown as ServerResponse, {
      matches: () => true,
      position: { log: 'log1', seq: 0 },
    });
    return client;
  });
  let turns = 0;
  for (; !clients.every(({ whole }) => whole); turns++) {
    assert.ok(turns < 100_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(turns > 50, `${written} bytes in ${turns} turns`);
  hub.close();
});

test('a malformed Last-Event-ID gets a 400 before the stream starts', async (t) => {
  const { open } = await serve(t);
  const reader = await open('', { 'last-event-id': 'nonsense' });
  assert.equal(reader.response.statusCode, 400);
});

test('the stream applies the filters of its query', async (t) => {
  const { log, open } = await serve(t);
  const reader = await open('?kind=export');
  const all = await open();
  append(log, 3);
  await until(() => all.messages.length === 3, 'the unfiltered events');
  assert.equal(reader.messages.length, 0);
});

test('a client that does not read misses events, gets their number, and does not delay other clients', async (t) => {
  const { log, hub, open } = await serve(t, { keep: 50 });
  const slow = await open();
  const fast = await open();
  slow.response.pause();
  // Far more than the socket buffers hold, in bursts, so that the fast client can keep up.
  const total = 100_000;
  for (let burst = 0; burst < total / 50; burst++) {
    append(log, 50);
    await new Promise((resolve) => setImmediate(resolve));
    if (burst % 40 === 0)
      await until(() => (fast.messages.at(-1)?.data.seq ?? 0) === log.newest, 'the fast client');
    if (burst % 40 === 0) fast.text = fast.text.slice(-500);
  }
  slow.response.resume();
  await until(() => slow.text.includes(`id: log1.${total}\n`), 'the last event');
  const dropped = slow.messages.filter(({ event }) => event === 'dropped');
  const lost = dropped.reduce((sum, { data }) => sum + Number(data.count), 0);
  assert.ok(lost > 0, 'something was dropped');
  assert.equal(hub.dropped, lost);
  assert.equal(slow.messages.length - dropped.length + lost, total);
});

test('an idle stream is kept alive by comments', async (t) => {
  const { open } = await serve(t, { heartbeatMs: 20 });
  const reader = await open();
  await until(() => (reader.text.match(/^: alive$/gm)?.length ?? 0) >= 2, 'heartbeats');
  assert.deepEqual(reader.messages, []);
});

test('a client that disconnects frees its place', async (t) => {
  const { hub, open } = await serve(t, { maxClients: 1 });
  const first = await open();
  assert.equal(hub.clients, 1);
  const second = await open();
  assert.equal(second.response.statusCode, 503);
  await until(() => second.closed || second.text.includes('}'), 'the rejection');
  assert.match(second.text, /the limit is reached/);
  first.response.destroy();
  await until(() => hub.clients === 0, 'the place');
  assert.equal((await open()).response.statusCode, 200);
});

test('closing the app ends the streams', async (t) => {
  const { app, hub, open } = await serve(t);
  const reader = await open();
  await app.close();
  await until(() => reader.closed, 'the end of the stream');
  assert.equal(reader.response.complete, true);
  assert.equal(hub.clients, 0);
  hub.close();
});
