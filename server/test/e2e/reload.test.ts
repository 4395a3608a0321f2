import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { get, request } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually } from '../fixtures/eventually.ts';
import { HASH_OF_SECRET } from '../fixtures/web-config.ts';
import { STREAM } from '../http/build.ts';
import { basic } from '../http/web/secure-server.ts';
import { Program, type Serving } from './program.ts';

const program = new Program();
const recording = join(program.folder, 'stream.jsonl');
const config = join(program.folder, 'tracer.yml');
const web = join(program.folder, 'web.yml');
before(() => {
  program.build();
  writeFileSync(recording, `${STREAM.join('\n')}\n`);
});
after(() => program.remove());

/** The status of a GET with this Host header. */
function statusFor(serving: Serving, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    get(`${serving.url}/api/v1/status`, { headers: { host } }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    }).on('error', reject);
  });
}

async function metric(serving: Serving, name: string, headers = {}): Promise<string | undefined> {
  const text = await (await fetch(`${serving.url}/metrics`, { headers })).text();
  return text.split('\n').find((line) => line.startsWith(`vfio_dmabuf_${name} `));
}

const SUCCESSFUL = 'config_last_reload_successful{file="config"}';

test('SIGHUP reloads the settings; a wrong file changes nothing and is visible', async (t) => {
  writeFileSync(config, 'web: {allowed-hosts: [one.example]}\n');
  const serving = await program.serve(t, ['replay', recording, `--config.file=${config}`]);
  assert.deepEqual(
    [await statusFor(serving, 'one.example'), await statusFor(serving, 'two.example')],
    [200, 421],
  );

  writeFileSync(config, 'web: {allowed-hosts: [two.example]}\nevents: {keep: 5}\n');
  serving.child.kill('SIGHUP');
  await eventually(async () => assert.equal(await statusFor(serving, 'two.example'), 200));
  assert.equal(await statusFor(serving, 'one.example'), 421);
  assert.match(serving.log, /"settings":\["events.keep"\].*after a restart/);
  assert.equal(await metric(serving, SUCCESSFUL), `vfio_dmabuf_${SUCCESSFUL} 1`);

  writeFileSync(config, 'web: {allowed-hosts: [three.example]}\nstrict: often\n');
  serving.child.kill('SIGHUP');
  await eventually(async () =>
    assert.equal(await metric(serving, SUCCESSFUL), `vfio_dmabuf_${SUCCESSFUL} 0`),
  );
  assert.equal(await statusFor(serving, 'two.example'), 200);
  assert.match(serving.log, /tracer\.yml:2:9.*the old settings stay in use: strict/);
  serving.child.kill('SIGTERM');
  assert.equal(await serving.ended, 0);
});

function post(
  serving: Serving,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(`${serving.url}/-/reload`, { method: 'POST', headers }, (answer) => {
      let body = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body }));
    });
    sent.on('error', reject).end();
  });
}

test('POST /-/reload reloads only with --web.enable-lifecycle, and not for a web page', async (t) => {
  const off = await program.serve(t, ['replay', recording]);
  const rejected = await post(off);
  assert.equal(rejected.status, 403);
  assert.match(rejected.body, /--web\.enable-lifecycle/);

  writeFileSync(config, 'log: {level: info}\n');
  const on = await program.serve(t, [
    'replay',
    recording,
    '--web.enable-lifecycle',
    `--config.file=${config}`,
  ]);
  assert.equal((await post(on, { origin: 'http://localhost' })).status, 403);
  assert.equal((await post(on, { host: 'evil.example' })).status, 421);
  writeFileSync(config, 'log: {level: warn}\nstrict: true\n');
  assert.deepEqual(await post(on), {
    status: 200,
    body: 'reloaded\nchanged: log.level\nneed a restart: strict\n',
  });
  writeFileSync(config, 'log: {level: loud}\n');
  const failed = await post(on);
  assert.equal(failed.status, 500);
  assert.match(failed.body, /log\.level cannot be .*loud/);
  const wrongMethod = await fetch(`${on.url}/-/reload`);
  assert.deepEqual([wrongMethod.status, wrongMethod.headers.get('allow')], [405, 'POST']);
});

test('the built program checks passwords, and reads the web configuration file again after a change', async (t) => {
  writeFileSync(web, `basic_auth_users: {alice: ${HASH_OF_SECRET}}\n`);
  const serving = await program.serve(t, ['replay', recording, `--web.config.file=${web}`]);
  const statusOf = async (user: string) =>
    (await fetch(`${serving.url}/metrics`, { headers: basic(user, 'secret') })).status;
  assert.deepEqual([await statusOf('alice'), await statusOf('bob')], [200, 401]);
  writeFileSync(web, `basic_auth_users: {bob: ${HASH_OF_SECRET}}\n`);
  await eventually(async () => assert.equal(await statusOf('bob'), 200));
  assert.equal(await statusOf('alice'), 401);
  writeFileSync(web, 'basic_auth_users: {bob: hunter2}\n');
  const name = 'config_last_reload_successful{file="web_config"}';
  await eventually(async () =>
    assert.equal(await metric(serving, name, basic('bob', 'secret')), `vfio_dmabuf_${name} 0`),
  );
  assert.doesNotMatch(serving.log, /hunter2|secret/);
  serving.child.kill('SIGTERM');
  assert.equal(await serving.ended, 0);
});

test('--config.check checks the web configuration file too, and so does the start', () => {
  writeFileSync(web, 'basic_auth_users: {bob: hunter2}\n');
  const { code, stderr } = program.run(['--config.check', `--web.config.file=${web}`]);
  assert.equal(code, 2);
  assert.match(
    stderr,
    /basic_auth_users\.bob is not valid\n {2}where: .*web\.yml:1:25\n {2}fix: give a bcrypt hash/,
  );
  const start = program.run([
    'replay',
    recording,
    '--web.listen-address=127.0.0.1:0',
    `--web.config.file=${web}`,
  ]);
  assert.deepEqual([start.code, /fix: give a bcrypt hash/.test(start.stderr)], [2, true]);
  writeFileSync(web, `basic_auth_users: {bob: ${HASH_OF_SECRET}}\n`);
  assert.equal(program.run(['--config.check', `--web.config.file=${web}`]).code, 0);
});
