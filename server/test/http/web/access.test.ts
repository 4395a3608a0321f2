import assert from 'node:assert/strict';
import { test } from 'node:test';
import bcrypt from 'bcryptjs';
import { pino } from 'pino';
import { Value } from 'typebox/value';
import { ApiError } from '../../../src/contract/error.ts';
import { BasicAuth } from '../../../src/http/web/basic-auth.ts';
import { TokenBucket } from '../../../src/http/web/rate-limit.ts';
import { WebConfig } from '../../../src/http/web/web-config.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { eventually } from '../../fixtures/eventually.ts';
import { HASH_OF_SECRET, WebConfigFolder } from '../../fixtures/web-config.ts';
import { basic, SERVER, serveSecurely } from './secure-server.ts';

const USERS = `tls_server_config: {${SERVER}}\nbasic_auth_users: {alice: ${HASH_OF_SECRET}}`;
const PATHS = ['/', '/metrics', '/api/v1/status', '/api/v1/stream', '/openapi.json', '/nowhere'];

test('every route needs user and password, only the two probes do not', async (t) => {
  const { ask, access } = await serveSecurely(t, USERS);
  for (const path of PATHS) {
    const answer = await ask(path);
    assert.equal(answer.status, 401, path);
    assert.match(String(answer.headers['www-authenticate']), /^Basic realm=/);
    assert.ok(Value.Check(ApiError, JSON.parse(answer.body)), path);
  }
  assert.equal(access.rejected.no_credentials, 6);
  for (const path of ['/-/healthy', '/-/ready']) assert.equal((await ask(path)).status, 200, path);
  assert.equal((await ask('/metrics', { headers: basic('alice', 'secret') })).status, 200);
  assert.equal((await ask('/nowhere', { headers: basic('alice', 'secret') })).status, 404);
});

for (const [what, headers, status] of [
  ['a wrong password', basic('alice', 'Secret'), 401],
  ['an empty password', basic('alice', ''), 401],
  ['an unknown user', basic('bob', 'secret'), 401],
  ['no colon', { authorization: `Basic ${Buffer.from('alice').toString('base64')}` }, 401],
  ['another scheme', { authorization: 'Bearer secret' }, 401],
  ['the hash as the password', basic('alice', HASH_OF_SECRET), 401],
  [
    'the scheme in lower case',
    { authorization: basic('alice', 'secret').authorization?.replace('B', 'b') },
    200,
  ],
] as const) {
  test(`${what} gets a ${status}`, async (t) => {
    const { ask } = await serveSecurely(t, USERS);
    assert.equal((await ask('/metrics', { headers: headers as Record<string, string> })).status, status);
  });
}

test('a removed user and a changed password count for the next request', async (t) => {
  const { ask, files, web } = await serveSecurely(t, USERS);
  const statusOf = async (password: string) =>
    (await ask('/metrics', { headers: basic('alice', password) })).status;
  assert.equal(await statusOf('secret'), 200);
  files.write(USERS.replace(HASH_OF_SECRET, bcrypt.hashSync('other', 4)));
  await web.reload();
  assert.deepEqual([await statusOf('secret'), await statusOf('other')], [401, 200]);
  files.write(USERS.replace('alice', 'bob'));
  await eventually(async () => assert.equal(await statusOf('other'), 401));
});

test('a file that is empty for a moment, before its text is written, does not turn the users off', async (t) => {
  const files = new WebConfigFolder(t, `basic_auth_users: {alice: ${HASH_OF_SECRET}}`);
  const web = new WebConfig({ path: files.path, logger: pino({ level: 'silent' }), clock: systemClock });
  t.after(() => web.stop());
  await web.start();
  files.write('\n');
  await assert.rejects(web.reload(), /the file is empty/);
  assert.equal(web.current.settings.users.size, 1);
  files.write('{}');
  await web.reload();
  assert.equal(web.current.settings.users.size, 0);
});

test('the reason why the tracer is not ready needs a password', async (t) => {
  const readiness = () => ({ ready: false, why: 'no BTF' }) as const;
  const { ask } = await serveSecurely(t, USERS, { readiness });
  const answer = await ask('/-/ready');
  assert.equal(answer.status, 503);
  assert.doesNotMatch(answer.body, /BTF/);
  const open = await serveSecurely(t, `tls_server_config: {${SERVER}}`, { readiness });
  assert.match((await open.ask('/-/ready')).body, /BTF/);
});

test('neither log nor answer has a password or a user that was sent', async (t) => {
  const { ask, log } = await serveSecurely(t, USERS);
  const answer = await ask('/metrics', { headers: basic('mistyped', 'top-secret') });
  assert.doesNotMatch(JSON.stringify([answer, log]), /top-secret|mistyped/);
  assert.ok(log.some(({ msg }) => msg.includes('user or the password is wrong')));
});

/** One user whose hash takes about 0.1 s. */
const SLOW = new Map([['alice', bcrypt.hashSync('secret', 10)]]);
const header = (user: string, password: string) => basic(user, password).authorization;

test('a scrape with a known password does not wait for wrong passwords, and these have a limit', async (t) => {
  const auth = new BasicAuth();
  t.after(() => auth.stop());
  assert.equal(await auth.check(SLOW, header('alice', 'secret'), '10.0.0.1'), 'ok');
  const done: string[] = [];
  const flood = Array.from({ length: 100 }, async (_, index) => {
    const result = await auth.check(SLOW, header('alice', `wrong ${index}`), '10.0.0.2');
    done.push(result);
    return result;
  });
  assert.equal(await auth.check(SLOW, header('alice', 'secret'), '10.0.0.1'), 'ok');
  assert.ok(!done.includes('wrong'), 'the scrape did not wait for a wrong password');
  // The first scrape of another client waits for the passwords of one address at most.
  const others = new Map([...SLOW, ['bob', bcrypt.hashSync('builder', 4)]]);
  assert.equal(await auth.check(others, header('bob', 'builder'), '10.0.0.3'), 'ok');
  const results = await Promise.all(flood);
  assert.equal(results.filter((result) => result === 'wrong').length, 4);
  assert.equal(results.filter((result) => result === 'busy').length, 96);
  assert.equal(await auth.check(SLOW, header('alice', 'wrong again'), '10.0.0.2'), 'wrong', 'not for ever');
});

test('the passwords of all addresses together have a limit too', async (t) => {
  const auth = new BasicAuth();
  t.after(() => auth.stop());
  const users = new Map([['alice', HASH_OF_SECRET]]);
  const results = await Promise.all(
    Array.from({ length: 100 }, (_, index) =>
      auth.check(users, header('alice', `${index}`), `10.0.1.${index}`),
    ),
  );
  assert.equal(results.filter((result) => result === 'busy').length, 36);
});

test('equal requests share one check', async (t) => {
  const auth = new BasicAuth();
  t.after(() => auth.stop());
  const results = await Promise.all(
    Array.from({ length: 20 }, () => auth.check(SLOW, header('alice', 'secret'), '10.0.0.1')),
  );
  assert.deepEqual(
    results,
    results.map(() => 'ok'),
  );
});

test('an unknown user takes a check as long as that of a known one', async (t) => {
  const auth = new BasicAuth();
  t.after(() => auth.stop());
  await auth.check(SLOW, header('alice', 'start the thread'), '10.0.0.1');
  const cpuOf = async (user: string): Promise<number> => {
    const before = process.cpuUsage();
    assert.equal(await auth.check(SLOW, header(user, 'x'), '10.0.0.1'), 'wrong');
    return process.cpuUsage(before).user;
  };
  const [known, unknown] = [await cpuOf('alice'), await cpuOf('bob')];
  assert.ok(unknown > known / 4, `${unknown} µs for an unknown user, ${known} µs for a known one`);
});

test('a bucket passes a burst, then one request for each interval', () => {
  const bucket = new TokenBucket({ intervalMs: 100, burst: 3 }, 0);
  const passed = (nowMs: number) => bucket.take(nowMs);
  assert.deepEqual([passed(0), passed(0), passed(0), passed(0)], [true, true, true, false]);
  assert.deepEqual(
    [passed(99), passed(100), passed(150), passed(199), passed(200)],
    [false, true, false, false, true],
  );
  assert.deepEqual([passed(9000), passed(9000), passed(9000), passed(9000)], [true, true, true, false]);
});

test('requests beyond the rate limit get a 429 and are counted', async (t) => {
  const limited = `tls_server_config: {${SERVER}}\nrate_limit: {interval: 1h, burst: 2}`;
  const { ask, access, files, web } = await serveSecurely(t, limited);
  const statuses = [];
  for (let index = 0; index < 4; index++) statuses.push((await ask('/-/healthy')).status);
  assert.deepEqual(statuses, [200, 200, 429, 429]);
  assert.equal(access.rejected.rate_limit, 2);
  await web.reload();
  assert.equal((await ask('/-/healthy')).status, 429, 'a reload without a change gives no new burst');
  files.write(limited.replace('burst: 2', 'burst: 3'));
  await web.reload();
  assert.equal((await ask('/-/healthy')).status, 200);
});
