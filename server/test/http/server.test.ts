import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { HttpServer, isLoopback, splitAddress } from '../../src/http/server.ts';
import { TracerError } from '../../src/support/errors.ts';
import { build } from './build.ts';

const silent = pino({ level: 'silent' });

/** A logger whose lines can be read. */
function listening() {
  const lines: { level: number; address?: string; url?: string }[] = [];
  const logger = pino({ level: 'info' }, { write: (line) => lines.push(JSON.parse(line)) });
  return { logger, lines };
}

test('it serves on every address, and a stop may be asked for twice', async (t) => {
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

test('an address in use is a user error with its remedy, and no other address stays open', async (t) => {
  const first = new HttpServer({ app: (await build(t)).app, addresses: ['127.0.0.1:0'], logger: silent });
  await first.start();
  t.after(() => first.stop());
  const port = new URL(first.urls[0] ?? '').port;
  const { app } = await build(t);
  const second = new HttpServer({ app, addresses: ['127.0.0.1:0', `127.0.0.1:${port}`], logger: silent });
  await assert.rejects(second.start(), (error) => {
    assert.ok(error instanceof TracerError);
    assert.equal(error.code, 'address_unavailable');
    assert.match(error.message, /another program listens there/);
    assert.match(error.remedy ?? '', /--web\.listen-address/);
    return true;
  });
  assert.deepEqual(second.urls, []);
});

test('listening beyond the loopback is warned of, on the loopback it is not', async (t) => {
  for (const [address, warned] of [
    ['0.0.0.0:0', true],
    ['127.0.0.1:0', false],
  ] as const) {
    const { logger, lines } = listening();
    const server = new HttpServer({ app: (await build(t)).app, addresses: [address], logger });
    await server.start();
    await server.stop();
    assert.equal(
      lines.some((line) => line.level === 40 && line.address === address),
      warned,
    );
  }
});

for (const [text, host, port] of [
  ['127.0.0.1:1', '127.0.0.1', 1],
  ['[::1]:2', '::1', 2],
  [':3', '', 3],
] as const) {
  test(`${text} is host ${JSON.stringify(host)} and port ${port}`, () => {
    assert.deepEqual(splitAddress(text), { host, port });
  });
}

test('only the loopback is loopback', () => {
  assert.deepEqual(['127.0.0.1', '127.8.9.1', '::1', 'localhost'].filter(isLoopback).length, 4);
  assert.deepEqual(['', '0.0.0.0', '::', '10.0.0.1', '127.evil.example'].filter(isLoopback), []);
});
