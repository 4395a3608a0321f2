import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib';
import { Value } from 'typebox/value';
import {
  BuffersAnswer,
  EventsAnswer,
  HistoryAnswer,
  IncidentsAnswer,
  StatusAnswer,
} from '../../src/contract/answers.ts';
import { EVENT_KINDS } from '../../src/contract/events.ts';
import { asksFor } from '../../src/http/encoding.ts';
import type { WebFiles } from '../../src/http/web-files.ts';
import {
  counterRead,
  detached,
  HEADER,
  ready,
  starting,
  tupleLine,
  unmapped,
  untraceable,
} from '../fixtures/stream-lines.ts';
import { build, STREAM } from './build.ts';

const RUNBOOKS = join(import.meta.dirname, '../../../docs/runbooks');

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

test('/-/healthy always answers 200, and /-/ready follows the readiness', async (t) => {
  let ready = false;
  const readiness = () =>
    ready ? ({ ready } as const) : ({ ready: false, why: 'bpftrace is starting' } as const);
  const { app } = await build(t, { readiness });
  assert.equal((await app.inject('/-/healthy')).statusCode, 200);
  const no = await app.inject('/-/ready');
  assert.equal(no.statusCode, 503);
  assert.equal(no.body, 'not ready: bpftrace is starting\n');
  ready = true;
  assert.equal((await app.inject('/-/ready')).statusCode, 200);
});

test('the status has all fields of the model, and the reason why the daemon is not ready', async (t) => {
  const { app, model } = await build(t);
  const answer = await app.inject('/api/v1/status');
  assert.deepEqual(answer.json(), { ...model.status(), not_ready: null });
  assert.ok(Value.Check(StatusAnswer, answer.json()));
  const other = await build(t, { readiness: () => ({ ready: false, why: 'stopping' }) });
  assert.equal((await other.app.inject('/api/v1/status')).json().not_ready, 'stopping');
  assert.equal(answer.json().state, 'tracing');
});

test('buffers are filtered by device, state and privacy', async (t) => {
  const { app, model } = await build(t);
  const ask = async (query: string) => {
    const answer = await app.inject(`/api/v1/buffers${query}`);
    assert.equal(answer.statusCode, 200, answer.body);
    assert.ok(Value.Check(BuffersAnswer, answer.json()));
    return answer.json().buffers.map((buffer: { inode: number }) => buffer.inode);
  };
  assert.deepEqual((await app.inject('/api/v1/buffers')).json().buffers, model.buffers());
  assert.deepEqual((await ask('')).sort(), [7, 8, 9]);
  assert.deepEqual(await ask('?device=0000:42:00.0'), [8]);
  assert.deepEqual(await ask('?device=42:00.0'), [8]);
  assert.deepEqual(await ask('?state=released'), [9]);
  assert.deepEqual(await ask('?state=revoked&privacy=shared'), [8]);
  assert.deepEqual(await ask('?privacy=private'), [7]);
  const limited = await app.inject('/api/v1/buffers?limit=1');
  assert.equal(limited.json().buffers.length, 1);
  assert.equal(limited.json().total, 3);
});

test('events can be read page by page with the cursor of the previous answer', async (t) => {
  const { app, log } = await build(t);
  const all = (await app.inject('/api/v1/events?limit=1000')).json();
  assert.ok(Value.Check(EventsAnswer, all));
  assert.deepEqual(all.events, log.read(0, 1000).events);
  assert.equal(all.more, false);
  const seen: number[] = [];
  let after = 0;
  for (let more = true; more; ) {
    const page = (await app.inject(`/api/v1/events?limit=3&after=${after}&log=${all.log}`)).json();
    seen.push(...page.events.map((event: { seq: number }) => event.seq));
    ({ next: after, more } = page);
  }
  assert.deepEqual(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test('events are filtered by kind, device, reason and result', async (t) => {
  const { app } = await build(t);
  const ask = async (query: string) =>
    (await app.inject(`/api/v1/events?${query}`)).json().events.map((event: { seq: number }) => event.seq);
  assert.deepEqual(await ask('kind=export'), [1, 6, 7, 9]);
  assert.deepEqual(await ask('kind=export&result=failed'), [7]);
  assert.deepEqual(await ask('device=42:00.0'), [6, 8]);
  assert.deepEqual(await ask('kind=incident&device=41:00.0'), [2, 4]);
  assert.deepEqual(await ask('reason=revoked'), [5]);
  assert.deepEqual(await ask('inode=8'), [6, 8]);
  const ofSeven = (await app.inject('/api/v1/events?inode=7')).json().events as { kind: string }[];
  assert.ok(ofSeven.some(({ kind }) => kind === 'incident'));
  assert.deepEqual(await ask('inode=7&kind=export'), [1]);
  assert.deepEqual(await ask('result=ok'), [1, 3, 6, 9]);
});

test('an events answer has the number of events that were evicted after its cursor', async (t) => {
  const { app } = await build(t, { keep: 3 });
  const page = (await app.inject('/api/v1/events?after=2')).json();
  assert.equal(page.dropped, 5);
  assert.equal(page.oldest, 8);
  assert.equal(page.reset, false);
});

test('a cursor from another log, or beyond the end of this log, restarts at the oldest event', async (t) => {
  const { app } = await build(t);
  for (const query of ['after=5&log=other', 'after=4000&log=log1']) {
    const page = (await app.inject(`/api/v1/events?${query}`)).json();
    assert.equal(page.reset, true);
    assert.equal(page.events[0].seq, 1);
  }
  const end = await app.inject('/api/v1/events?after=10');
  assert.deepEqual([end.statusCode, end.json().reset, end.json().events], [200, false, []]);
  assert.equal((await app.inject('/api/v1/events?after=11')).statusCode, 400);
});

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

for (const [url, message, hint] of [
  ['/api/v1/events?knd=export', /knd is not a parameter/, /did you mean kind\?/],
  ['/api/v1/events?kind=exprt', /kind cannot be "exprt"/, /did you mean export\?/],
  ['/api/v1/events?limit=1001', /limit cannot be 1001/, /1 to 1000/],
  ['/api/v1/events?limit=ten', /limit cannot be "ten"/, /1 to 1000/],
  ['/api/v1/events?after=-1', /after cannot be -1/, /seq/],
  ['/api/v1/events?kind=export&kind=bind', /kind cannot be/, /./],
  ['/api/v1/buffers?device=gpu', /device cannot be "gpu"/, /0000:41:00\.0/],
  ['/api/v1/buffers?state=dead', /state cannot be "dead"/, /live/],
  ['/api/v1/status?x=1', /x is not a parameter/, /./],
  ['/api/v1/stream?kynd=bind', /kynd is not a parameter/, /kind/],
] as const) {
  test(`${url} is rejected with a hint`, async (t) => {
    const { app } = await build(t);
    const answer = await app.inject(url);
    assert.equal(answer.statusCode, 400);
    assert.match(answer.headers['content-type'] as string, /^application\/json/);
    const { error } = answer.json();
    assert.equal(error.code, 'bad_request');
    assert.match(error.message, message);
    assert.match(error.hint, hint);
  });
}

test('an unknown path gets a 404 that names the nearest path', async (t) => {
  const { app } = await build(t);
  const answer = await app.inject('/api/v1/event');
  assert.equal(answer.statusCode, 404);
  assert.match(answer.json().error.hint, /did you mean \/api\/v1\/events\?/);
});

test('an unsupported method gets a 405 with the allowed methods', async (t) => {
  const { app } = await build(t);
  const answer = await app.inject({ method: 'POST', url: '/api/v1/status' });
  assert.equal(answer.statusCode, 405);
  assert.equal(answer.headers.allow, 'GET, HEAD');
});

test('below a wildcard route an unknown path gets a 404 and an unsupported method a 405', async (t) => {
  const { app } = await build(t);
  app.get('/files/*', (_request, reply) => reply.callNotFound());
  assert.equal((await app.inject('/files/none')).statusCode, 404);
  assert.equal((await app.inject({ method: 'HEAD', url: '/files/none' })).statusCode, 404);
  assert.equal((await app.inject({ method: 'POST', url: '/files/none' })).statusCode, 405);
});

test('a URL that cannot be decoded gets a 400 in the common error format', async (t) => {
  const { app } = await build(t);
  const answer = await app.inject('/%zz');
  assert.equal(answer.statusCode, 400);
  assert.equal(answer.json().error.code, 'bad_request');
});

test('an event of every kind passes its schema unchanged', async (t) => {
  const lines = [
    ...STREAM,
    unmapped(3_999_999, 7, 'mlx5_core'),
    detached(4_000_000, 7, 'mlx5_core'),
    tupleLine('revoke_call', 4_000_001, 900, 100, 0x4200, true, 3, 1, 'qemu'),
    tupleLine('private_read', 4_000_002, 100, 1, 0x4100, 7, 0, 0, 2, 100, 'qemu'),
    tupleLine('bind', 4_000_003, 700, 100, 0x4100, 7, 22, 4, 0, 100, 200, 4096, 4096, 2, 'qemu'),
    tupleLine('unbind', 4_000_004, 100, 0x4100, 7, 100, 'qemu'),
  ];
  const { app, log } = await build(t, { lines });
  const { events } = (await app.inject('/api/v1/events?limit=1000')).json();
  assert.deepEqual(events, log.read(0, 1000).events);
  assert.deepEqual(
    new Set(events.map(({ kind }: { kind: string }) => kind)),
    new Set([...EVENT_KINDS, 'incident']),
  );
});

test('an internal error gets a 500 without its message', async (t) => {
  const metrics = { families: () => Promise.reject(new Error('inside')) };
  const { app } = await build(t, { metrics });
  const answer = await app.inject('/metrics');
  assert.equal(answer.statusCode, 500);
  assert.doesNotMatch(answer.body, /inside/);
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

test('the history has the rates between counter reads', async (t) => {
  const lines = [...STREAM, ...counterRead(5_000_000, { exports: { [`${0x4100},2`]: 5 } }, 4)];
  const { app, model } = await build(t, { lines });
  const answer = await app.inject('/api/v1/history');
  assert.ok(Value.Check(HistoryAnswer, answer.json()));
  assert.deepEqual(answer.json().samples, model.history());
  assert.equal(answer.json().samples[0].rates.exports, 2);
});

test('the incidents answer has the remedy of each kind', async (t) => {
  const { app } = await build(t);
  const answer = (await app.inject('/api/v1/incidents')).json();
  assert.ok(Value.Check(IncidentsAnswer, answer));
  const kinds = [...new Set(answer.incidents.map(({ kind }: { kind: string }) => kind))];
  assert.deepEqual(Object.keys(answer.kinds).sort(), kinds.sort());
  assert.ok(kinds.length > 0);
  for (const entry of Object.values(answer.kinds))
    assert.match((entry as { remedy: string }).remedy, /\w{3}/);
});

test('every answer except files of the page forbids content sniffing and caching', async (t) => {
  const { app } = await build(t);
  for (const url of ['/', '/metrics', '/api/v1/status', '/nowhere']) {
    const { headers } = await app.inject(url);
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['cache-control'], 'no-store');
  }
});

test('each reason has a route, and the events answer links to it', async (t) => {
  const { app } = await build(t);
  const all = (await app.inject('/api/v1/reasons')).json().reasons as { name: string }[];
  assert.ok(all.length > 40);
  const { links, events } = (await app.inject('/api/v1/events?result=failed')).json();
  const rejected = events.find((event: { reason?: string }) => event.reason === 'revoked');
  const path = links.reason.replace('{reason}', rejected.reason);
  const answer = await app.inject(path);
  assert.equal(answer.statusCode, 200);
  const { name, topic, what, rules, stages } = answer.json();
  assert.deepEqual([name, topic], ['revoked', 'reason']);
  assert.match(what, /revoked/);
  assert.ok(stages.includes(rejected.stage));
  assert.equal(rules[0].errno, 'ENODEV');
});

test('the runbook of each alert is served as text, with and without .md in its path', async (t) => {
  const { app } = await build(t);
  const files = readdirSync(RUNBOOKS);
  assert.ok(files.length > 30);
  for (const file of files) {
    const answer = await app.inject(`/runbooks/${file}`);
    assert.equal(answer.headers['content-type'], 'text/plain; charset=utf-8');
    assert.equal(answer.body.split('\n')[0], readFileSync(join(RUNBOOKS, file), 'utf8').split('\n')[0]);
    assert.equal((await app.inject(`/runbooks/${file.replace('.md', '')}`)).body, answer.body);
  }
});

test('links in a runbook lead to pages that this server serves, and its commands use this server', async (t) => {
  const { app } = await build(t);
  const ask = (url: string) => app.inject({ url, headers: { host: '10.1.2.3:9' } });
  let links = 0;
  for (const file of readdirSync(RUNBOOKS)) {
    const { body } = await ask(`/runbooks/${file}`);
    assert.ok(!body.includes('127.0.0.1:10043'), file);
    assert.doesNotMatch(body, /\]\((?!http|#|\.\.\/\.\.\/)/, file);
    for (const [, path = ''] of body.matchAll(/\]\(http:\/\/10\.1\.2\.3:9(\/docs\/[^)#]+)/g)) {
      assert.equal((await ask(path)).statusCode, 200, `${file}: ${path}`);
      links += 1;
    }
  }
  assert.ok(links > 10);
  assert.match((await ask('/docs/README.md')).body, /\]\(http:\/\/10\.1\.2\.3:9\/docs\/reasons\.md/);
});

test('an unknown runbook gets a 404 that names the nearest runbook', async (t) => {
  const { app } = await build(t);
  for (const path of ['VfioDmabufTracerBlynd', '..%2f..%2fpackage.json', '__proto__']) {
    const answer = await app.inject(`/runbooks/${path}`);
    assert.equal(answer.statusCode, 404, path);
    const { error } = answer.json();
    assert.equal(error.code, 'not_found');
    assert.match(
      error.hint,
      path.startsWith('V') ? /^did you mean VfioDmabufTracerBlind\?$/ : /^known: Vfio/,
    );
  }
});

test('an unknown reason gets a 404 that names the nearest reason', async (t) => {
  const { app } = await build(t);
  const answer = await app.inject('/api/v1/reasons/no_peer_to_pear');
  assert.equal(answer.statusCode, 404);
  const { error } = answer.json();
  assert.deepEqual([error.code, error.hint], ['not_found', 'did you mean no_peer_to_peer?']);
});
