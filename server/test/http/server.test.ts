import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { isLoopback, resolveAddresses, splitAddress } from '../../src/http/addresses.ts';
import { HttpServer } from '../../src/http/server.ts';
import { TracerError } from '../../src/lib/errors.ts';
import { build } from './build.ts';
import { serve } from './raw-client.ts';

const silent = pino({ level: 'silent' });

/** A logger that keeps its lines. */
function keepingLogger() {
  const lines: { level: number; address?: string; url?: string }[] = [];
  const logger = pino({ level: 'info' }, { write: (line) => lines.push(JSON.parse(line)) });
  return { logger, lines };
}

test('the server listens on every address, and stop() can be called again', async (t) => {
  const { app } = await build(t);
  const server = new HttpServer({ app, addresses: ['127.0.0.1:0', '[::1]:0'], logger: silent });
  await server.start();
  assert.equal(server.urls.length, 2);
  const urls = server.urls;
  for (const url of urls) assert.equal((await fetch(`${url}/-/healthy`)).status, 200);
  await Promise.all([server.stop(), server.stop()]);
  await server.stop();
  for (const url of urls) await assert.rejects(fetch(`${url}/-/healthy`));
});

test('an address in use is an error with a remedy, and the server closes the other addresses', async (t) => {
  const first = new HttpServer({ app: (await build(t)).app, addresses: ['127.0.0.1:0'], logger: silent });
  await first.start();
  t.after(() => first.stop());
  const port = new URL(first.urls[0] ?? '').port;
  const { app } = await build(t);
  const second = new HttpServer({ app, addresses: ['127.0.0.1:0', `127.0.0.1:${port}`], logger: silent });
  await assert.rejects(second.start(), (error) => {
    assert.ok(error instanceof TracerError);
    assert.equal(error.code, 'address_unavailable');
    assert.match(error.message, /another program already listens on it/);
    assert.match(error.remedy ?? '', /--web\.listen-address/);
    return true;
  });
  assert.deepEqual(second.urls, []);
});

test('the server logs a warning if it listens beyond the loopback address, and only then', async (t) => {
  for (const [address, warned] of [
    ['0.0.0.0:0', true],
    ['127.0.0.1:0', false],
    ['127.1:0', false],
    ['[::ffff:127.0.0.1]:0', false],
    ['localhost:0', false],
  ] as const) {
    const { logger, lines } = keepingLogger();
    const server = new HttpServer({ app: (await build(t)).app, addresses: [address], logger });
    await server.start();
    assert.equal(server.loopbackOnly, !warned);
    await server.stop();
    assert.equal(
      lines.some((line) => line.level === 40),
      warned,
    );
  }
});

for (const [text, host, port] of [
  ['127.0.0.1:1', '127.0.0.1', 1],
  ['[::1]:2', '::1', 2],
  [':3', '', 3],
] as const) {
  test(`splitAddress splits ${text} into host ${JSON.stringify(host)} and port ${port}`, () => {
    assert.deepEqual(splitAddress(text), { host, port });
  });
}

test('isLoopback accepts every notation of a loopback address and nothing else', () => {
  const loopback = ['127.0.0.1', '127.8.9.1', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', '::ffff:7f00:1'];
  assert.deepEqual(loopback.filter(isLoopback), loopback);
  assert.deepEqual(
    ['', '0.0.0.0', '::', '10.0.0.1', '::ffff:10.0.0.1', '::2', '127.evil.example'].filter(isLoopback),
    [],
  );
});

test('a name with several addresses makes the server listen once on each address', async (t) => {
  const addresses = (host: string) =>
    host === 'two.example'
      ? ['127.0.0.1', '::1', '127.0.0.1']
      : host === 'one.example'
        ? ['127.0.0.1']
        : [host];
  const lookup = async (host: string) => addresses(host).map((address) => ({ address }));
  const { server } = await serve(t, { addresses: ['two.example:0'], lookup });
  assert.deepEqual(
    server.urls.map((url) => new URL(url).hostname),
    ['127.0.0.1', '[::1]'],
  );
  for (const url of server.urls) assert.equal((await fetch(`${url}/-/healthy`)).status, 200);
  const { port } = new URL(server.urls[0] ?? '');
  await server.stop();
  const texts = [`127.0.0.1:${port}`, `two.example:${port}`, `one.example:${port}`];
  assert.deepEqual(
    (await resolveAddresses(texts, lookup)).map(({ host }) => host),
    ['127.0.0.1', '::1'],
  );
});

test('addresses of a name that this host does not have are skipped, and it is an error if none is left', async (t) => {
  // 198.51.100.0/24 is reserved for documentation (RFC 5737).
  const lookup = (addresses: readonly string[]) => async () => addresses.map((address) => ({ address }));
  const some = await serve(t, {
    addresses: ['some.example:0'],
    lookup: lookup(['198.51.100.1', '127.0.0.1']),
  });
  assert.equal(some.server.urls.length, 1);
  assert.ok(some.log_lines.some(({ level, address }) => level === 40 && address === 'some.example:0'));
  const none = serve(t, { addresses: ['none.example:0'], lookup: lookup(['198.51.100.1', '198.51.100.2']) });
  await assert.rejects(none, /cannot listen on none\.example:0: this host has no such address/);
  const nowhere = () => Promise.reject(Object.assign(new Error('no'), { code: 'ENOTFOUND' }));
  await assert.rejects(
    serve(t, { addresses: ['no.example:0'], lookup: nowhere }),
    /this name has no address/,
  );
});
