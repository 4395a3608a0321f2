import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { pino } from 'pino';
import { Value } from 'typebox/value';
import { ApiError } from '../../src/contract/error.ts';
import { HttpServer } from '../../src/http/server.ts';
import { build } from './build.ts';

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

interface RequestOptions {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
}

/** A server on a real port. `ask` sends a request without normalizing its path, `raw` sends plain bytes. */
async function listening(t: TestContext) {
  const { app } = await build(t);
  const server = new HttpServer({ app, addresses: ['127.0.0.1:0'], logger: pino({ level: 'silent' }) });
  await server.start();
  t.after(() => server.stop());
  const port = Number(new URL(server.urls[0] ?? '').port);
  const ask = (path: string, { method = 'GET', headers = {}, body }: RequestOptions = {}) =>
    new Promise<Answer>((resolve, reject) => {
      const request = httpRequest(
        { port, host: '127.0.0.1', path, method, headers, agent: false },
        (answer) => {
          const isStream = String(answer.headers['content-type']).startsWith('text/event-stream');
          let text = '';
          const end = () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: text });
          answer.setEncoding('utf8').on('data', (chunk) => {
            text += chunk;
          });
          answer.on('end', end);
          if (isStream) {
            end();
            answer.destroy();
          }
        },
      );
      request.on('error', reject);
      request.end(body);
    });
  const raw = (bytes: string) =>
    new Promise<string>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
      let text = '';
      socket.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      socket.on('end', () => socket.destroy());
      socket.on('close', () => resolve(text));
      socket.on('error', reject);
    });
  return { ask, raw };
}

function assertApiError(answer: Answer, what: string): ApiError['error'] {
  assert.match(String(answer.headers['content-type']), /^application\/json/, what);
  const body = JSON.parse(answer.body);
  assert.ok(Value.Check(ApiError, body), `${what}: ${answer.body}`);
  assert.ok(body.error.hint !== null && body.error.hint !== '', `${what} has a hint`);
  assert.ok(answer.body.length < 2000, `${what} does not echo the request`);
  return body.error;
}

const long = 'x'.repeat(12_000);

for (const [path, status, message, hint] of [
  ['/api/v1/buffers?limt=1', 400, /limt is not a parameter/, /did you mean limit\?/],
  ['/api/v1/buffers?state=lve', 400, /state cannot be "lve"/, /did you mean live\?/],
  ['/api/v1/buffers?state=qqqqqq', 400, /state cannot be/, /known: live, revoked, released/],
  ['/api/v1/buffers?limit=0', 400, /limit cannot be 0/, /1 to 10000/],
  ['/api/v1/buffers?limit=-1', 400, /limit cannot be -1/, /1 to 10000/],
  ['/api/v1/buffers?limit=1e9', 400, /limit cannot be 1000000000/, /1 to 10000/],
  ['/api/v1/buffers?limit=NaN', 400, /limit cannot be "NaN"/, /1 to 10000/],
  ['/api/v1/buffers?limit=', 400, /limit cannot be ""/, /1 to 10000/],
  ['/api/v1/buffers?limit=1.5', 400, /limit cannot be "?1\.5/, /1 to 10000/],
  ['/api/v1/buffers?limit=1&limit=2', 400, /limit cannot be/, /give limit once/],
  ['/api/v1/buffers?state=live&state=live', 400, /state cannot be/, /give state once/],
  [`/api/v1/buffers?device=${long}`, 400, /device cannot be "x+\.\.\./, /0000:41:00\.0/],
  [`/api/v1/buffers?${long}=1`, 400, /x\.\.\. is not a parameter/, /known: device/],
  [`/api/v1/rejections?reason=${long}`, 400, /reason cannot be/, /known: none/],
  ['/api/v1/buffers?__proto__=1', 400, /__proto__ is not a parameter/, /known/],
  ['/api/v1/buffers?device=%zz', 400, /device cannot be/, /PCI address/],
  ['/api/v1/events?after=-5', 400, /after cannot be -5/, /next/],
  ['/api/v1/events?after=last', 400, /after cannot be "last"/, /next/],
  ['/api/v1/events?after=99999999999999999999', 400, /after cannot be/, /next/],
  [
    '/api/v1/events?after=99999999',
    400,
    /after cannot be 99999999: the newest event is \d+$/,
    /give the `log`/,
  ],
  ['/api/v1/events?log=../x', 400, /log cannot be/, /of the previous answer/],
  ['/api/v1/status?pretty', 400, /pretty is not a parameter/, /takes no parameters/],
  ['/-/healthy?x=1', 400, /x is not a parameter/, /takes no parameters/],
  ['/openapi.json?x=1', 400, /x is not a parameter/, /takes no parameters/],
  ['/%zz', 400, /not a valid url/, /%25/],
  ['/api/v1/bufers', 404, /nothing at \/api\/v1\/bufers/, /did you mean \/api\/v1\/buffers\?/],
  ['/api/v1/buffers/', 404, /nothing at/, /did you mean \/api\/v1\/buffers\?/],
  [`/${long}`, 404, /nothing at \/x+\.\.\.$/, /known: /],
  ['/api/v1/reasons/no_rangs', 404, /no reason "no_rangs"/, /did you mean no_ranges\?/],
  [`/api/v1/reasons/${long}`, 414, /./, /openapi\.json/],
] as const) {
  test(`${path.slice(0, 60)} is rejected with ${status} and a hint`, async (t) => {
    const { ask } = await listening(t);
    const answer = await ask(path);
    const { message: actual, hint: given } = assertApiError(answer, path);
    assert.equal(answer.status, status, answer.body);
    assert.match(actual, message);
    assert.match(given ?? '', hint);
  });
}

test('a bad Last-Event-ID is rejected with a hint', async (t) => {
  const { ask } = await listening(t);
  for (const id of ['7', 'log1.x', 'log1.1234567890123456', '../1.2', long]) {
    const answer = await ask('/api/v1/stream', { headers: { 'last-event-id': id } });
    assert.equal(answer.status, 400, answer.body);
    assert.match(assertApiError(answer, id).where ?? '', /Last-Event-ID/);
  }
});

test('a query of 10 MB gets a 431 in the common error format, and the server keeps running', async (t) => {
  const { ask, raw } = await listening(t);
  const text = await raw(`GET /api/v1/buffers?device=${'x'.repeat(10 << 20)} HTTP/1.1\r\nhost: x\r\n\r\n`);
  const [head = '', body = ''] = text.split('\r\n\r\n');
  assert.match(head, /^HTTP\/1\.1 431 /);
  assert.match(head, /\r\ncontent-type: application\/json/);
  const error = assertApiError(
    { status: 431, headers: { 'content-type': 'application/json' }, body },
    'a query of 10 MB',
  );
  assert.match(error.message, /16 KiB/);
  assert.equal((await ask('/-/healthy')).status, 200);
});

test('bytes that are not HTTP get a 400 in the common error format', async (t) => {
  const { raw } = await listening(t);
  for (const bytes of ['\x16\x03\x01\x02\x00\x01', 'hello\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n']) {
    const [head = '', body = ''] = (await raw(bytes)).split('\r\n\r\n');
    assert.match(head, /^HTTP\/1\.1 400 /);
    assertApiError({ status: 400, headers: { 'content-type': 'application/json' }, body }, bytes);
  }
});

test('errors that Node detects itself also have the common error format', async (t) => {
  const { raw } = await listening(t);
  for (const [bytes, status] of [
    ['GET /metrics HTTP/1.1\r\nconnection: close\r\n\r\n', 400],
    ['CONNECT evil.example:443 HTTP/1.1\r\nhost: localhost\r\n\r\n', 405],
    ['GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nhost: localhost\r\nbad header\r\n\r\n', 400],
    ['GET /nowhere HTTP/1.1\r\nhost: localhost\r\nexpect: tea\r\nconnection: close\r\n\r\n', 404],
  ] as const) {
    const [head = '', body = ''] = (await raw(bytes)).split('\r\n\r\n');
    assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} `), bytes);
    assert.match(head, /\r\ncross-origin-resource-policy: same-origin/);
    assertApiError({ status, headers: { 'content-type': 'application/json' }, body }, bytes);
  }
});

test('malformed bytes are answered after the requests before them', async (t) => {
  const { raw } = await listening(t);
  const text = await raw(
    'GET /-/ready HTTP/1.1\r\nhost: localhost\r\n\r\nGET /-/healthy HTTP/1.1\r\nhost: localhost\r\n\r\nhello\r\n',
  );
  assert.deepEqual(
    [...text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => status),
    ['200', '200', '400'],
  );
});

test('a scrape is answered with any query', async (t) => {
  const { ask } = await listening(t);
  for (const query of ['collect[]=cpu&name[]=x', 'x', 'a=1&a=2', '%zz', `${long}=1`, '__proto__=1']) {
    const answer = await ask(`/metrics?${query}`);
    assert.equal(answer.status, 200, query.slice(0, 60));
    assert.match(answer.body, /^vfio_dmabuf_up /m);
  }
});

test('a method other than GET gets a 405 with the allowed methods, with any body', async (t) => {
  const { ask } = await listening(t);
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND']) {
    for (const [path, allow] of [
      ['/api/v1/status', 'GET, HEAD'],
      ['/api/v1/reasons/revoked', 'GET, HEAD'],
      ['/metrics', 'GET, HEAD'],
      ['/api/v1/stream', 'GET'],
    ] as const) {
      const headers = { 'content-type': 'text/strange' };
      const answer = await ask(path, { method, headers, ...(method === 'POST' ? { body: '{"a' } : {}) });
      assert.equal(answer.status, 405, `${method} ${path}: ${answer.body}`);
      assert.equal(answer.headers.allow, allow);
      assert.match(assertApiError(answer, path).hint ?? '', /use GET/);
    }
  }
  assert.equal((await ask('/nowhere', { method: 'POST', body: '{"a' })).status, 404);
});

test('a route that reads no body rejects a request with one', async (t) => {
  const { ask } = await listening(t);
  for (const headers of [{ 'content-length': '2' }, { 'transfer-encoding': 'chunked' }]) {
    const answer = await ask('/api/v1/status', { headers, body: '{}' });
    assert.equal(answer.status, 400);
    assert.match(assertApiError(answer, 'a body').message, /takes no body/);
  }
  assert.equal((await ask('/api/v1/status', { headers: { 'content-length': '0' } })).status, 200);
});

test('HEAD is answered like GET without a body, but the stream answers it with a 405', async (t) => {
  const { ask } = await listening(t);
  for (const path of ['/api/v1/status', '/metrics', '/-/ready', '/openapi.json']) {
    const answer = await ask(path, { method: 'HEAD' });
    assert.deepEqual([answer.status, answer.body], [200, ''], path);
    assert.ok(Number(answer.headers['content-length']) > 0, path);
  }
  assert.equal((await ask('/api/v1/buffers?limit=0', { method: 'HEAD' })).status, 400);
  assert.equal((await ask('/api/v1/stream', { method: 'HEAD' })).status, 405);
});

test('any query gets a 200 or a 4xx in the common error format', async (t) => {
  const { ask } = await listening(t);
  const word = fc.oneof(
    fc.constantFrom('limit', 'after', 'log', 'device', 'kind', 'state', 'importer', 'reason', 'x', '', '[]'),
    fc.constantFrom(
      '1',
      '0',
      '-1',
      '1e9',
      'NaN',
      'live',
      'export',
      '0000:41:00.0',
      'unknown',
      '%',
      '%00',
      '%zz',
    ),
    fc.string({ maxLength: 40 }).map((text) => text.replaceAll(/[^!-~]|#/g, '%')),
    fc.string({ unit: 'grapheme', maxLength: 10 }).map(encodeURIComponent),
  );
  const path = fc.constantFrom(
    ...[
      'buffers',
      'imports',
      'rejections',
      'incidents',
      'topology',
      'events',
      'stream',
      'status',
      'probes',
    ].map((name) => `/api/v1/${name}`),
    ...['/api/v1/reasons', '/api/v1/reasons/revoked', '/metrics', '/-/healthy', '/-/ready', '/openapi.json'],
  );
  const query = fc.array(fc.tuple(word, word), { maxLength: 4 });
  const seen = new Set<number>();
  await fc.assert(
    fc.asyncProperty(path, query, async (where, pairs) => {
      const url = `${where}?${pairs.map((pair) => pair.join('=')).join('&')}`;
      const answer = await ask(url);
      seen.add(answer.status);
      if (answer.status === 200) return;
      assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status} for ${url}`);
      assertApiError(answer, url);
    }),
    { numRuns: 500 },
  );
  assert.ok(seen.has(200) && seen.has(400), [...seen].join());
});
