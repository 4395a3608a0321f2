import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { asksFor } from '../../src/http/encoding.ts';
import { build } from './build.ts';

test('metrics are in the text format unless the client accepts OpenMetrics', async (t) => {
  const { app } = await build(t);
  const text = await app.inject('/metrics');
  assert.equal(text.statusCode, 200);
  assert.equal(text.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
  assert.equal(text.headers['content-encoding'], undefined);
  assert.match(text.body, /^vfio_dmabuf_exports_total\{device="0000:41:00.0",privacy="private"\} 1$/m);
  const open = await app.inject({
    url: '/metrics',
    headers: { accept: 'application/openmetrics-text;version=1.0.0' },
  });
  assert.equal(open.headers['content-type'], 'application/openmetrics-text; version=1.0.0; charset=utf-8');
  assert.match(open.body, /# EOF\n$/);
  assert.equal(open.headers.vary, 'accept, accept-encoding');
});

test('metrics are compressed only if the client accepts gzip', async (t) => {
  const { app } = await build(t);
  const plain = await app.inject('/metrics');
  const packed = await app.inject({ url: '/metrics', headers: { 'accept-encoding': 'gzip' } });
  assert.equal(packed.headers['content-encoding'], 'gzip');
  assert.equal(gunzipSync(packed.rawPayload).toString(), plain.body);
});

for (const [header, asked] of [
  [undefined, false],
  ['gzip', true],
  ['deflate, GZIP;q=0.5', true],
  ['gzip;q=0', false],
  ['br', false],
  ['*', false],
] as const) {
  test(`accept-encoding ${header} ${asked ? 'accepts' : 'does not accept'} gzip`, () => {
    assert.equal(asksFor('gzip', header), asked);
  });
}

test('a scrape beyond web.max-requests is rejected and counted, and earlier scrapes are answered', async (t) => {
  const scrapes = { rejected: 0 };
  let open = (): void => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const metrics = { families: () => gate.then(() => []) };
  const { app } = await build(t, { maxRequests: 1, scrapes, metrics });
  const first = app.inject('/metrics');
  await new Promise((resolve) => setImmediate(resolve));
  const second = await app.inject('/metrics');
  assert.equal(second.statusCode, 503);
  assert.equal(scrapes.rejected, 1);
  open();
  assert.equal((await first).statusCode, 200);
  assert.equal((await app.inject('/metrics')).statusCode, 200);
});

test('the metrics are served at the configured path, and the page links to it', async (t) => {
  const { app } = await build(t, { telemetryPath: '/m' });
  assert.match((await app.inject('/')).body, /data-metrics="m"/);
  assert.equal((await app.inject('/m')).statusCode, 200);
  assert.equal((await app.inject('/metrics')).statusCode, 404);
});
