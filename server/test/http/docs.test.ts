import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { build } from './build.ts';

const RUNBOOKS = join(import.meta.dirname, '../../../docs/runbooks');

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
