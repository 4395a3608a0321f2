import assert from 'node:assert/strict';
import { test } from 'node:test';
import { build } from './build.ts';

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

test('an internal error gets a 500 without its message', async (t) => {
  const metrics = { families: () => Promise.reject(new Error('inside')) };
  const { app } = await build(t, { metrics });
  const answer = await app.inject('/metrics');
  assert.equal(answer.statusCode, 500);
  assert.doesNotMatch(answer.body, /inside/);
});
