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

/** The anchors of a page: its headings, as a Markdown viewer names them. */
function anchorsOf(page: string): string[] {
  return [...page.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  );
}

test('every link in the served docs leads to a page and heading of this server, and commands use this server', async (t) => {
  const { app } = await build(t);
  const ask = (url: string) => app.inject({ url, headers: { host: '10.1.2.3:9' } });
  const pages = readdirSync(join(RUNBOOKS, '..'), { recursive: true, encoding: 'utf8' });
  let links = 0;
  for (const page of pages.filter((name) => name.endsWith('.md'))) {
    const { body } = await ask(`/docs/${page}`);
    assert.ok(!body.includes('127.0.0.1:10043'), page);
    assert.doesNotMatch(body, /\b(src|href)=/, page);
    for (const [link, target = '', anchor] of body.matchAll(/\]\(([^)#]*)(?:#([^)]*))?\)/g)) {
      if (/^https?:/.test(target) && !target.startsWith('http://10.1.2.3:9/')) continue;
      const path = target === '' ? `/docs/${page}` : target.replace('http://10.1.2.3:9', '');
      const answer = await ask(path);
      assert.equal(answer.statusCode, 200, `${page}: ${link}`);
      if (anchor !== undefined) assert.ok(anchorsOf(answer.body).includes(anchor), `${page}: ${link}`);
      links += 1;
    }
  }
  assert.ok(links > 100, `${links}`);
  assert.match((await ask('/docs/README.md')).body, /\]\(http:\/\/10\.1\.2\.3:9\/docs\/reasons\.md/);
  assert.match(
    (await ask('/docs/install.md')).body,
    / SECURITY\.md \(repository: SECURITY\.md\)|\(SECURITY\.md \(/,
  );
});

test('docs/http.md names every query parameter of each path', async (t) => {
  const { app } = await build(t);
  const page = readFileSync(join(RUNBOOKS, '../http.md'), 'utf8');
  type Operation = { get?: { parameters?: { in: string; name: string }[] } };
  const { paths } = (await app.inject('/openapi.json')).json() as { paths: Record<string, Operation> };
  let parameters = 0;
  for (const [path, { get }] of Object.entries(paths)) {
    const row = page.split('\n').find((line) => line.startsWith(`| \`${path}\` `)) ?? '';
    for (const { name } of get?.parameters?.filter((one) => one.in === 'query') ?? []) {
      assert.ok(row.includes(`\`${name}\``), `${path}: ${name}`);
      parameters += 1;
    }
  }
  assert.ok(parameters > 20);
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
