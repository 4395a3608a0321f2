import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { Compile } from 'typebox/compile';
import { printJson } from '../../../src/cli/output.ts';
import { DaemonClient, daemonUrl } from '../../../src/cli/watch/daemon-client.ts';
import { follow, pauseMs } from '../../../src/cli/watch/follow.ts';
import { messagesOf } from '../../../src/cli/watch/server-sent.ts';
import { Status } from '../../../src/model/schema.ts';
import { TracerError } from '../../../src/support/errors.ts';
import { Collected } from '../../fixtures/collected.ts';
import { eventually } from '../../fixtures/eventually.ts';
import { build, releaseEvent } from '../../http/build.ts';

const STATUS = Compile(Status);

test('messages are put together from chunks that are cut anywhere', async () => {
  const text = 'retry: 3000\nid: a.0\n: log\n\n: alive\n\nevent: export\nid: a.1\ndata: {"x":1}\n\n';
  for (let cut = 0; cut < text.length; cut++) {
    const chunks = async function* () {
      yield text.slice(0, cut);
      yield text.slice(cut);
    };
    const seen = [];
    for await (const message of messagesOf(chunks())) seen.push(message);
    assert.deepEqual(seen, [
      { event: 'message', id: 'a.0', data: '' },
      { event: 'export', id: 'a.1', data: '{"x":1}' },
    ]);
  }
});

for (const [text, why] of [
  ['localhost:10043', /does not begin with http/],
  ['127.0.0.1', /does not begin with http/],
  ['https://h:1', /does not support TLS/],
  ['http://h:1/?x=1', /more than a host/],
  ['', /does not begin with http/],
] as const) {
  test(`${JSON.stringify(text)} is not the URL of a daemon`, () => {
    assert.throws(
      () => daemonUrl(text),
      (error) => error instanceof TracerError && error.code === 'bad_usage' && why.test(error.message),
    );
  });
}

/** A daemon whose connections can be cut, and that can be away. */
async function daemon(t: TestContext) {
  const { app, log, hub } = await build(t, { lines: [], keep: 5 });
  await app.ready();
  const server = createServer((request, response) => app.routing(request, response));
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const away = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  };
  t.after(() => away());
  return {
    log,
    hub,
    away,
    back: () => listen(port),
    client: new DaemonClient(new URL(`http://127.0.0.1:${port}`)),
  };
}

test('a stream that is cut goes on behind its last event, also where none had come, and tells what was dropped', async (t) => {
  const { log, hub, away, back, client } = await daemon(t);
  const lines: { kind: string; seq?: number; count?: number }[] = [];
  const told: string[] = [];
  const gates: (() => void)[] = [];
  const stop = new AbortController();
  t.after(() => stop.abort());
  const until = (condition: () => boolean, what: string) =>
    eventually(() =>
      assert.ok(condition(), `waited in vain for ${what}: ${JSON.stringify({ lines, told })}`),
    );
  const ended = follow({
    client,
    device: undefined,
    write: async (line) => void lines.push(JSON.parse(line)),
    notify: (text) => void told.push(text),
    clock: { sleep: () => new Promise((resolve) => gates.push(resolve)) },
    signal: stop.signal,
  });
  const append = (count: number) => {
    for (let index = 0; index < count; index++) log.append(releaseEvent(log.newest + 1));
  };
  const open = () => gates.shift()?.();
  await until(() => hub.clients === 1, 'the connection');
  await away();
  await until(() => gates.length === 1, 'the loss');
  append(2);
  await back();
  open();
  await until(() => lines.length === 2, 'the two that came meanwhile');
  await away();
  await until(() => gates.length === 1, 'the second loss');
  append(7);
  await back();
  open();
  await until(() => lines.length === 8, 'what is kept of the seven');
  assert.deepEqual(
    lines.map(({ kind, seq, count }) => [kind, seq ?? count]),
    [
      ['release', 1],
      ['release', 2],
      ['dropped', 2],
      ['release', 5],
      ['release', 6],
      ['release', 7],
      ['release', 8],
      ['release', 9],
    ],
  );
  assert.equal(told.length, 2);
  assert.match(told[0] ?? '', /retrying$/);
  stop.abort();
  open();
  await ended;
});

test('what a terminal would obey is escaped, and is the same JSON', async (t) => {
  const { log, hub, client } = await daemon(t);
  const stop = new AbortController();
  const comm = 'a\u009b31m\u202eb\u{e0001}';
  const line = await new Promise<string>((resolve, reject) => {
    const ended = follow({
      client,
      device: undefined,
      write: async (text) => {
        const stdout = new Collected();
        await printJson(stdout, text);
        resolve(stdout.text);
      },
      notify: reject,
      clock: { sleep: async () => {} },
      signal: stop.signal,
    });
    ended.catch(reject);
    const wait = setInterval(() => {
      if (hub.clients === 0 || log.newest > 0) return;
      clearInterval(wait);
      log.append({ ...releaseEvent(1), comm });
    }, 5);
  });
  stop.abort();
  assert.doesNotMatch(line.trimEnd(), /[\p{Cc}\p{Cf}]/u);
  assert.equal(JSON.parse(line).comm, comm);
});

test('a daemon that was never there, and a wrong device, are errors', async (t) => {
  const { away, back, client } = await daemon(t);
  const options = {
    client,
    write: async () => {},
    notify: () => {},
    clock: { sleep: () => assert.fail('nothing is waited for') },
    signal: t.signal,
  };
  await away();
  await assert.rejects(follow({ ...options, device: undefined }), /nothing listens there/);
  await back();
  await assert.rejects(follow({ ...options, device: 'gpu' }), (error) => {
    return (
      error instanceof TracerError && error.code === 'bad_usage' && /device cannot be/.test(error.message)
    );
  });
});

test('what answers but is no daemon is said to be none', async (t) => {
  const server = createServer((_request, response) => response.end('<html>'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const client = new DaemonClient(new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
  await assert.rejects(client.json('/api/v1/status', STATUS, t.signal), /is not a vfio-dmabuf-tracer/);
  const stream = client.stream('/api/v1/stream', undefined, t.signal);
  await assert.rejects(stream.next(), /is not a vfio-dmabuf-tracer/);
});

test('pauses double up to half a minute', () => {
  assert.deepEqual([0, 1, 2, 6, 50].map(pauseMs), [500, 1000, 2000, 30_000, 30_000]);
});
