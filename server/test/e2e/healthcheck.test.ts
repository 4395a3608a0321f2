import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { eventually } from '../fixtures/eventually.ts';
import { WebConfigFolder } from '../fixtures/web-config.ts';
import { STREAM } from '../http/build.ts';
import { SERVER } from '../http/web/secure-server.ts';
import { Program, Serving } from './program.ts';

const program = new Program();
// The health check asks each daemon of its program. Other tests run daemons of the shared build at the same time.
const dist = join(program.folder, 'own');
const main = join(dist, 'vfio-dmabuf-tracer.mjs');
const healthcheck = [process.execPath, join(dist, 'healthcheck.mjs')];
const recording = join(program.folder, 'stream.jsonl');
const replay = ['replay', recording];
const file = join(program.folder, 'settings.yaml');
const link = join(program.folder, 'vfio-dmabuf-tracer');
const ANY = '127.0.0.1:0';

before(() => {
  program.build();
  cpSync(program.dist, dist, { recursive: true });
  writeFileSync(recording, `${STREAM.join('\n')}\n`);
  writeFileSync(file, `web: {listen-address: ['${ANY}']}\n`);
  symlinkSync(main, link);
});
after(() => program.remove());

interface Start {
  env?: Record<string, string>;
  /** How the command line names the program. */
  path?: string;
  cwd?: string;
}

async function start(t: TestContext, args: readonly string[], options: Start = {}): Promise<Serving> {
  const { path = main, env = {}, cwd } = options;
  const serving = new Serving(spawn(process.execPath, [path, ...args], { env, cwd }));
  t.after(async () => {
    serving.child.kill('SIGKILL');
    await serving.ended;
  });
  await serving.listening();
  return serving;
}

function check(...prefix: string[]) {
  const [command = '', ...args] = [...prefix, ...healthcheck];
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', timeout: 30_000, env: {} });
  return { code: status, stdout };
}

/** On a busy machine a daemon may not answer in the time that the health check gives it. */
function passes(): Promise<void> {
  return eventually(() => assert.deepEqual(check(), { code: 0, stdout: 'healthy\n' }));
}

const NONE = { code: 1, stdout: 'no daemon listens in this container\n' };

for (const [where, args, options = {}] of [
  ['the environment', replay, { env: { VFIO_DMABUF_TRACER_WEB_LISTEN_ADDRESS: ANY }, path: link }],
  [
    'the settings file',
    [...replay, `--config.file=${file}`],
    { path: './vfio-dmabuf-tracer.mjs', cwd: dist },
  ],
  ['a flag of run', ['run', '--bpftrace.path=/nowhere', `--web.listen-address=${ANY}`]],
] as [string, string[], Start?][]) {
  test(`the health check finds the address from ${where}`, async (t) => {
    const serving = await start(t, args, options);
    await passes();
    serving.child.kill('SIGTERM');
    assert.equal(await serving.ended, 0);
    assert.deepEqual(check(), NONE);
  });
}

test('the health check asks each address, and names those that do not answer in time', async (t) => {
  const addresses = ['127.0.0.1:0', '[::1]:0', ':0'].map((one) => `--web.listen-address=${one}`);
  const serving = await start(t, [...replay, ...addresses]);
  await serving.until(() => (serving.log.match(/"listening"/g) ?? []).length === 3, 'three addresses');
  const hosts = [...serving.log.matchAll(/"url":"http:\/\/([^"]+)"/g)].map(([, host = '']) =>
    host.replace('[::]', '127.0.0.1'),
  );
  serving.child.kill('SIGSTOP');
  const { code, stdout } = check();
  assert.equal(code, 1);
  const named = stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/ does not answer: .*timeout$/, ''));
  assert.deepEqual(named.sort(), hosts.sort());
  serving.child.kill('SIGCONT');
  await passes();
});

for (const [which, clients] of [
  ['TLS', ''],
  ['client certificates', ', client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert'],
] as const) {
  test(`the health check passes for a server with ${which}`, async (t) => {
    const { path } = new WebConfigFolder(t, `tls_server_config: {${SERVER}${clients}}`);
    const serving = await start(t, [...replay, `--web.listen-address=${ANY}`, `--web.config.file=${path}`]);
    assert.match(serving.url, /^https:/);
    await passes();
    serving.child.kill('SIGTERM');
    await serving.ended;
    if (clients === '') assert.doesNotMatch(serving.log, /closed a connection/);
  });
}

test('a rate limit does not make a daemon unhealthy', async (t) => {
  const { path } = new WebConfigFolder(t, 'rate_limit: {burst: 1, interval: 1h}');
  await start(t, [...replay, `--web.listen-address=${ANY}`, `--web.config.file=${path}`]);
  for (let asked = 0; asked < 2; asked++) await passes();
});

test('daemons of another program and of another mount namespace are ignored', async (t) => {
  await program.serve(t, ['replay', recording]);
  assert.deepEqual(check(), NONE);
  if (process.getuid?.() !== 0) return t.skip('a mount namespace needs root');
  await start(t, [...replay, `--web.listen-address=${ANY}`]);
  await passes();
  assert.deepEqual(check('unshare', '--mount'), NONE);
});

test('sockets of another user that cannot be seen are an error with a remedy', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('another user needs root');
  await start(t, [...replay, `--web.listen-address=${ANY}`]);
  const { code, stdout } = check('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups');
  assert.equal(code, 1);
  assert.match(stdout, /^the sockets of process \d+ cannot be seen; fix: add the capability SYS_PTRACE\n$/);
});
