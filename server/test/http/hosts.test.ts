import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { Value } from 'typebox/value';
import { ApiError } from '../../src/contract/error.ts';
import { HostNames, type HostNamesOptions } from '../../src/http/hosts.ts';
import { eventually } from '../fixtures/eventually.ts';
import { build } from './build.ts';
import { serve } from './raw-client.ts';

/** The status of a request with this Host header; 200 if the host is allowed. */
function statusOf(names: HostNames, host: string): number {
  const request = { rawHeaders: ['Accept', '*/*', 'Host', host], httpVersion: '1.1' };
  return names.check(request as IncomingMessage)?.status ?? 200;
}

function namesOf(options: Partial<HostNamesOptions> = {}) {
  return new HostNames({ addresses: ['127.0.0.1:10043'], allowed: [], ...options });
}

for (const host of [
  'localhost',
  'LOCALHOST:10043',
  'localhost.:80',
  'tracer.localhost',
  '127.0.0.1:10043',
  '127.1',
  '[::1]:10043',
  '[::ffff:127.0.0.1]',
  '10.244.1.7:10043',
  '[2001:db8::7]',
]) {
  test(`the host ${host} is always allowed, because DNS rebinding cannot use it`, () => {
    assert.equal(statusOf(namesOf(), host), 200);
  });
}

for (const [host, status] of [
  ['evil.example', 421],
  ['evil.example:10043', 421],
  ['localhost.evil.example', 421],
  ['127.0.0.1.evil.example', 421],
  ['evillocalhost', 421],
  ['tracer.example', 421],
  ['evil.example@127.0.0.1', 400],
  ['127.0.0.1/evil.example', 400],
  ['127.0.0.1 evil.example', 400],
  ['127.0.0.1:port', 400],
  ['[::1', 400],
  [':10043', 400],
] as const) {
  test(`the host ${JSON.stringify(host)} gets a ${status}`, () => {
    assert.equal(statusOf(namesOf(), host), status);
  });
}

test('names of the listen addresses and of web.allowed-hosts are allowed', () => {
  const names = namesOf({
    addresses: ['Tracer.Example:10043', '[::1]:1', ':2'],
    allowed: ['node-7', '*.fleet.example', 'bücher.example'],
  });
  for (const host of ['tracer.example', 'node-7:10043', 'a.fleet.example', 'xn--bcher-kva.example']) {
    assert.equal(statusOf(names, host), 200, host);
  }
  for (const host of ['fleet.example', 'notfleet.example', 'node-7.example', 'node-8']) {
    assert.equal(statusOf(names, host), 421, host);
  }
  assert.equal(statusOf(namesOf({ allowed: ['*'] }), 'evil.example'), 200);
});

test("addOwnNames allows the host name and the names of the host's addresses", async () => {
  const names = namesOf();
  const service = {
    own: 'Node-7.local',
    lookup: async () => [{ address: '192.0.2.7' }, { address: '2001:db8::7' }],
    lookupService: (address: string) =>
      address === '192.0.2.7'
        ? Promise.resolve({ hostname: 'node-7.example.com' })
        : Promise.reject(new Error('ENOTFOUND')),
  };
  assert.equal(statusOf(names, 'node-7'), 421);
  await names.addOwnNames(service);
  for (const host of ['node-7', 'node-7.local', 'node-7.example.com:10043']) {
    assert.equal(statusOf(names, host), 200, host);
  }
  assert.equal(statusOf(names, 'node-7.evil.example'), 421);
  await namesOf().addOwnNames({ ...service, lookup: () => Promise.reject(new Error('EAI_AGAIN')) });
});

test('every route rejects a request for another host with a hint how to allow it', async (t) => {
  const unknown: string[] = [];
  const hosts = namesOf({ onUnknown: (name) => unknown.push(name) });
  const { app } = await build(t, { hosts });
  const paths = [
    '/',
    '/metrics',
    '/-/healthy',
    '/api/v1/status',
    '/api/v1/stream',
    '/openapi.json',
    '/nowhere',
  ];
  for (const url of paths) {
    const answer = await app.inject({ url, headers: { host: 'evil.example' } });
    assert.equal(answer.statusCode, 421, url);
    assert.ok(Value.Check(ApiError, answer.json()));
    assert.match(answer.json().error.message, /evil\.example/);
    assert.match(answer.json().error.hint, /--web\.allowed-hosts/);
  }
  assert.deepEqual(
    unknown,
    paths.map(() => 'evil.example'),
  );
});

test('a request with two Host headers, none or an empty one gets a 400, but HTTP/1.0 needs none', async (t) => {
  const { open } = await serve(t);
  for (const [head, status] of [
    ['HTTP/1.1\r\nhost: localhost\r\nhost: localhost', 400],
    ['HTTP/1.1\r\nhost: localhost\r\nHOST: evil.example', 400],
    ['HTTP/1.1', 400],
    ['HTTP/1.1\r\nhost:', 400],
    ['HTTP/1.0', 200],
    ['HTTP/1.0\r\nhost: evil.example', 421],
  ] as const) {
    const client = open();
    client.socket.write(`GET /api/v1/status ${head}\r\nconnection: close\r\n\r\n`);
    await eventually(() => assert.ok(client.closed));
    assert.deepEqual(client.statuses, [status], head);
    const [headers = '', body = ''] = client.text.split('\r\n\r\n');
    assert.match(headers, /\r\ncontent-type: application\/json/);
    if (status !== 200) assert.ok(Value.Check(ApiError, JSON.parse(body)), body);
  }
});

test('every answer forbids pages of other origins to embed it', async (t) => {
  const { app } = await build(t);
  for (const url of [
    '/',
    '/metrics',
    '/api/v1/status',
    '/api/v1/buffers',
    '/nowhere',
    '/api/v1/events?x=1',
    '/%zz',
  ]) {
    const { headers } = await app.inject(url);
    assert.equal(headers['cross-origin-resource-policy'], 'same-origin', url);
  }
});
