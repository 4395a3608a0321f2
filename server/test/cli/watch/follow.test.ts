import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { Compile } from 'typebox/compile';
import { printJson } from '../../../src/cli/output.ts';
import { DaemonClient, daemonUrl } from '../../../src/cli/watch/daemon-client.ts';
import { follow, messagesOf, RETRY } from '../../../src/cli/watch/follow.ts';
import { Status } from '../../../src/contract/status.ts';
import { BackOff } from '../../../src/lib/back-off.ts';
import { TracerError } from '../../../src/lib/errors.ts';
import { Collected } from '../../fixtures/collected.ts';
import { eventually } from '../../fixtures/eventually.ts';
import { build, releaseEvent } from '../../http/build.ts';

const STATUS = Compile(Status);

test('messages are assembled from chunks that are cut anywhere', async () => {
  const text = 'retry: 3000\nid: a.0\n: log\n\n: alive\n\nevent: export\nid: a.1\ndata: {"x":1}\n\n';
  for (let cut = 0; cut < text.length; cut++) {
    const chunks = async function* () {
      yield text.slice(0, cut);
      yield text.slice(cut);
    };
    const seen = [];
    for await (const message of messagesOf(chunks())) seen.push(message);
    assert.deepEqual(seen, [{ event: 'export', id: 'a.1', data: '{"x":1}' }]);
  }
});

for (const [text, why] of [
  ['localhost:10043', /does not begin with http/],
  ['127.0.0.1', /does not begin with http/],
  ['ftp://h:1', /does not begin with http/],
  ['http://alice:secret@h:1', /has a user/],
  ['http://h:1/?x=1', /more than a host/],
  ['', /does not begin with http/],
] as const) {
  test(`${JSON.stringify(text)} is rejected as the URL of a daemon`, () => {
    assert.throws(
      () => daemonUrl(text),
      (error) => error instanceof TracerError && error.code === 'bad_usage' && why.test(error.message),
    );
  });
}

/** A daemon that can be shut down, which cuts its connections, and restarted. */
async function daemon(t: TestContext) {
  const { app, log, hub } = await build(t, { lines: [], keep: 5 });
  await app.ready();
  const server = createServer((request, response) => app.routing(request, response));
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const shutDown = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  };
  t.after(() => shutDown());
  return {
    log,
    hub,
    shutDown,
    restart: () => listen(port),
    client: new DaemonClient(new URL(`http://127.0.0.1:${port}`)),
  };
}

test('a stream that is cut continues after its last event, also if it had none, and reports dropped events', async (t) => {
  const { log, hub, shutDown, restart, client } = await daemon(t);
  const lines: { kind: string; seq?: number; count?: number }[] = [];
  const notices: string[] = [];
  const gates: (() => void)[] = [];
  const stop = new AbortController();
  t.after(() => stop.abort());
  const until = (condition: () => boolean, what: string) =>
    eventually(() =>
      assert.ok(condition(), `timed out while waiting for ${what}: ${JSON.stringify({ lines, notices })}`),
    );
  const ended = follow({
    client,
    device: undefined,
    write: async (line) => void lines.push(JSON.parse(line)),
    notify: (text) => void notices.push(text),
    clock: { sleep: () => new Promise((resolve) => gates.push(resolve)) },
    signal: stop.signal,
  });
  const append = (count: number) => {
    for (let index = 0; index < count; index++) log.append(releaseEvent(log.newest + 1));
  };
  const open = () => gates.shift()?.();
  await until(() => hub.clients === 1, 'the connection');
  await shutDown();
  await until(() => gates.length === 1, 'the loss');
  append(2);
  await restart();
  open();
  await until(() => lines.length === 2, 'the two events that were added meanwhile');
  await shutDown();
  await until(() => gates.length === 1, 'the second loss');
  append(7);
  await restart();
  open();
  await until(() => lines.length === 8, 'the events that the log kept of the seven');
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
  assert.equal(notices.length, 2);
  assert.match(notices[0] ?? '', /retrying$/);
  stop.abort();
  open();
  await ended;
});

test('control characters in an event are escaped, and the JSON has the same value', async (t) => {
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

test('a daemon that cannot be reached and a wrong device are errors', async (t) => {
  const { shutDown, restart, client } = await daemon(t);
  const options = {
    client,
    write: async () => {},
    notify: () => {},
    clock: { sleep: () => assert.fail('follow must not wait') },
    signal: t.signal,
  };
  await shutDown();
  await assert.rejects(follow({ ...options, device: undefined }), /nothing listens there/);
  await restart();
  await assert.rejects(follow({ ...options, device: 'gpu' }), (error) => {
    return (
      error instanceof TracerError && error.code === 'bad_usage' && /device cannot be/.test(error.message)
    );
  });
});

test('a server that is not a daemon is an error', async (t) => {
  const server = createServer((_request, response) => response.end('<html>'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const client = new DaemonClient(new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
  await assert.rejects(client.json('/api/v1/status', STATUS, t.signal), /is not a vfio-dmabuf-tracer/);
  const stream = client.stream('/api/v1/stream', undefined, t.signal);
  await assert.rejects(stream.next(), /is not a vfio-dmabuf-tracer/);
});

test('pauses double up to 30 s', () => {
  const backOff = new BackOff(RETRY);
  const pauses = Array.from({ length: 8 }, () => backOff.next());
  assert.deepEqual(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
});
