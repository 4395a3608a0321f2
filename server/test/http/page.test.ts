import assert from 'node:assert/strict';
import { test } from 'node:test';
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib';
import type { WebFiles } from '../../src/http/web-files.ts';
import { HEADER, ready, starting, untraceable } from '../fixtures/stream-lines.ts';
import { build, STREAM } from './build.ts';

test('the page without JavaScript shows no zero for what is not traced', async (t) => {
  const unavailable = untraceable(1_000_000);
  const body = async (lines: readonly string[]) => (await (await build(t, { lines })).app.inject('/')).body;
  const untraced = await body([HEADER, unavailable]);
  assert.match(untraced, /Incidents<\/dt><dd>not known: nothing is traced</);
  assert.match(untraced, /Buffers<\/dt><dd>not known: nothing is traced</);
  assert.match(await body([...STREAM, unavailable]), /Buffers<\/dt><dd>1 live, 1 revoked</);
  const partly = await body([HEADER, starting(1_000_000, 1, { attached: ['export'] }), ready(2_000_000)]);
  assert.match(partly, /Incidents<\/dt><dd>none open</);
  assert.match(partly, /Blind to<\/dt><dd>private offered, foreign vm, accepted not vfio</);
});

const WEB: WebFiles = new Map(
  (['page-A.js', 'page-B.css', 'icon-C.svg'] as const).map((name) => {
    const plain = Buffer.from(`content of ${name}`);
    const type = name.endsWith('js') ? 'text/javascript; charset=utf-8' : 'text/plain';
    return [name, { name, type, plain, gzip: gzipSync(plain), br: brotliCompressSync(plain) }];
  }),
);

test('the page has the summary and the links, escapes all values, and loads only its own files', async (t) => {
  const readiness = () => ({ ready: false, why: '<script>alert(1)</script>' }) as const;
  const { app } = await build(t, { readiness, web: WEB });
  const answer = await app.inject('/');
  assert.equal(answer.statusCode, 200);
  for (const path of ['/metrics', '/-/healthy', '/-/ready', '/api/v1/status', '/api/v1/stream']) {
    assert.ok(answer.body.includes(`href="${path}"`), path);
  }
  assert.deepEqual(answer.body.match(/<script.*?>|https?:|src="[^"]+"|href="assets[^"]+"/g), [
    '<script type="module" src="assets/page-A.js">',
    'href="assets/page-B.css"',
    'href="assets/icon-C.svg"',
  ]);
  assert.match(answer.body, /Incidents<\/dt><dd>\d open, \d of them critical: /);
  const policy = answer.headers['content-security-policy'] as string;
  assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self';/);
  assert.doesNotMatch(policy, /unsafe|\*|https?:|data:/);
  const without = await build(t);
  assert.doesNotMatch((await without.app.inject('/')).body, /<script|stylesheet/);
});

test('files of the page may be cached forever, are compressed on request, and an unknown one gets a 404', async (t) => {
  const { app } = await build(t, { web: WEB });
  const ask = (encoding: string) =>
    app.inject({ url: '/assets/page-A.js', headers: { 'accept-encoding': encoding } });
  const plain = await ask('identity');
  assert.equal(plain.body, 'content of page-A.js');
  assert.equal(plain.headers['content-type'], 'text/javascript; charset=utf-8');
  assert.equal(plain.headers['cache-control'], 'public, max-age=31536000, immutable');
  assert.equal(plain.headers['x-content-type-options'], 'nosniff');
  assert.equal(plain.headers.vary, 'accept-encoding');
  const br = await ask('gzip, deflate, br');
  assert.equal(br.headers['content-encoding'], 'br');
  assert.equal(brotliDecompressSync(br.rawPayload).toString(), plain.body);
  const gzip = await ask('gzip, br;q=0');
  assert.equal(gzip.headers['content-encoding'], 'gzip');
  assert.equal(gunzipSync(gzip.rawPayload).toString(), plain.body);
  for (const url of ['/assets/page-Z.js', '/assets/..%2fpackage.json', '/assets/']) {
    const answer = await app.inject(url);
    assert.equal(answer.statusCode, 404, url);
    assert.equal(answer.json().error.code, 'not_found');
  }
});
