import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chownSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Program, Serving } from '../e2e/program.ts';
import { childOf } from '../fixtures/child-of.ts';
import { processes, startTraced, type TracedProcess } from './trace.ts';

const NOBODY = 65534;
const COLLECTOR = fileURLToPath(new URL('./collector.ts', import.meta.url));
const ARGS = ['run', '--bpftrace.path=/nowhere/bpftrace', '--web.listen-address=127.0.0.1:0'];

const program = new Program();
before(() => program.build());
after(() => program.remove());

/** A field of /proc/PID/status: its words. */
function status(pid: number, field: string): string[] {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  return new RegExp(`^${field}:[ \\t]*(.*)$`, 'm').exec(text)?.[1]?.trim().split(/\s+/) ?? [];
}

async function running(t: TestContext, ...flags: string[]) {
  const serving = program.start(t, [...ARGS, ...flags]);
  await serving.listening();
  const collector = serving.child.pid ?? 0;
  return { serving, collector, server: childOf(collector, / server /) };
}

test('the server has another user, no groups, no capabilities, and cannot get new privileges', async (t) => {
  const { serving, server } = await running(t);
  const four = Array<string>(4).fill(String(NOBODY));
  assert.deepEqual(status(server, 'Uid'), four);
  assert.deepEqual(status(server, 'Gid'), four);
  assert.deepEqual(status(server, 'Groups'), ['']);
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'])
    assert.deepEqual(status(server, set), ['0000000000000000'], set);
  assert.deepEqual(status(server, 'NoNewPrivs'), ['1']);
  const threads = readdirSync(`/proc/${server}/task`);
  assert.ok(threads.length > 1);
  for (const thread of threads)
    assert.match(readFileSync(`/proc/${server}/task/${thread}/status`, 'utf8'), /^Uid:\t65534\t65534\t/m);
  serving.child.kill('SIGINT');
  assert.equal(await serving.ended, 0);
});

test('the server becomes the user of --server-user, and its group', async (t) => {
  const { serving, server } = await running(t, '--server-user=daemon:games');
  assert.deepEqual(status(server, 'Uid').at(1), '1');
  assert.deepEqual(status(server, 'Gid').at(1), '60');
  serving.child.kill('SIGINT');
  assert.equal(await serving.ended, 0);
});

test('an unknown user of the server ends the start with a message', () => {
  const { code, stderr } = program.run([...ARGS, '--server-user=no-such-user']);
  assert.equal(code, 2);
  assert.match(
    stderr,
    /^vfio-dmabuf-tracer: no program can be started as user no-such-user: .*setpriv: .+\n {2}where: server-user\n {2}fix: /,
  );
});

/** A copy of the program in a folder that only its owner can read. */
function privateCopy(t: TestContext, uid: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'private-'));
  t.after(() => rmSync(folder, { recursive: true }));
  cpSync(program.dist, folder, { recursive: true });
  chownSync(folder, uid, uid);
  chownSync(join(folder, 'vfio-dmabuf-tracer.mjs'), uid, uid);
  return join(folder, 'vfio-dmabuf-tracer.mjs');
}

test('a program that only its owner can read is served as the owner, unless that is root', async (t) => {
  const serving = new Serving(spawn(process.execPath, [privateCopy(t, 1), ...ARGS], { env: {} }));
  t.after(() => serving.child.kill('SIGKILL'));
  await serving.listening();
  assert.match(serving.log, /"uid":1,"msg":"the server runs as the owner of the program/);
  assert.equal(status(childOf(serving.child.pid ?? 0, / server /), 'Uid').at(0), '1');
  serving.child.kill('SIGINT');
  assert.equal(await serving.ended, 0);
  const ofRoot = spawnSync(process.execPath, [privateCopy(t, 0), ...ARGS], { env: {}, encoding: 'utf8' });
  assert.equal(ofRoot.status, 2);
  assert.match(
    ofRoot.stderr,
    /user 65534:65534 cannot run \S+ or read \S+\n {2}where: server-user\n {2}fix: /,
  );
});

test('a settings file that the user of the server cannot read ends the start with a message', (t) => {
  const run = spawnSync('mktemp', { encoding: 'utf8' });
  const file = run.stdout.trim();
  t.after(() => spawnSync('rm', [file]));
  const { code, stderr } = program.run([...ARGS, `--config.file=${file}`]);
  assert.equal(code, 1);
  assert.match(stderr, /^vfio-dmabuf-tracer: user 65534 cannot read the config file \(EACCES\)$/m);
});

test('a program with the user of the server cannot read or signal the collector', async (t) => {
  const { serving, collector } = await running(t);
  const asServer = (command: string): number | null => {
    const user = ['--reuid=65534', '--regid=65534', '--clear-groups', '--no-new-privs'];
    return spawnSync('setpriv', [...user, 'sh', '-c', `exec ${command} >/dev/null 2>&1`]).status;
  };
  assert.equal(asServer(`cat /proc/${process.pid}/status`), 0, 'the command itself works');
  for (const file of ['environ', 'mem', 'maps', 'fd/0'])
    assert.equal(asServer(`cat /proc/${collector}/${file}`), 1, file);
  assert.equal(asServer(`kill -0 ${collector}`), 1, 'signal');
  serving.child.kill('SIGINT');
  assert.equal(await serving.ended, 0);
});

const OWN_PROC = (pid: number): RegExp => new RegExp(`^/proc/(?:self|thread-self|${pid})(?:/|$)`);
/** Files of /proc that are about the machine, not about a process. */
const MACHINE_PROC = /^\/proc\/[a-z]/;

const FORBIDDEN =
  /^(?:execve|ptrace|process_vm_|pidfd_open|bpf|perf_event_open|mount|chmod|chown|unlink|rename|mkdir)/;

function inetSockets({ calls }: TracedProcess): string[] {
  return calls.map(({ text }) => text).filter((text) => /^(?:socket|socketpair)\(AF_INET/.test(text));
}

/** Asserts what SECURITY.md says about a server, from its last execve on. */
function assertServer(server: TracedProcess): void {
  assert.ok(inetSockets(server).length > 0, 'the server opened a network socket');
  const began = server.calls.findLast(({ text }) => /^execve\(.* = 0$/.test(text))?.at ?? 0;
  const own = server.calls.filter(({ at }) => at > began).map(({ text }) => text);
  const paths = own.flatMap((text) => /^\w+\((?:\w+, )?"(\/proc[^"]*)"/.exec(text)?.[1] ?? []);
  const foreign = paths.filter((path) => !OWN_PROC(server.pid).test(path) && !MACHINE_PROC.test(path));
  assert.ok(paths.length > 0, 'the trace contains files of /proc');
  assert.deepEqual(foreign, [], 'files of other processes, or the list of processes');
  const signals = own.filter(
    (text) => /^(?:t|tg)?kill\(/.test(text) && !text.includes(`kill(${server.pid},`),
  );
  assert.deepEqual(signals, [], 'signals to other processes');
  assert.deepEqual(
    own.filter((text) => FORBIDDEN.test(text)),
    [],
    'programs, other processes, the kernel, files',
  );
  assert.deepEqual(
    own.filter((text) => /^openat?\(.*O_(?:WRONLY|RDWR|CREAT)/.test(text) && !/\) = -1/.test(text)),
    [],
    'files that it writes',
  );
}

/** Requests pages of each kind. */
async function request(url: string): Promise<void> {
  for (const path of ['/', '/metrics', '/api/v1/status', '/api/v1/topology', '/docs/faq', '/openapi.json'])
    assert.equal((await fetch(`${url}${path}`)).status, 200, path);
}

test('no process but the server opens a network socket, and the server reads no other process', async (t) => {
  const { child, folder } = await startTraced(t, process.execPath, [program.path, ...ARGS]);
  const serving = new Serving(child);
  await serving.listening();
  await serving.until(() => serving.log.includes('this host cannot be traced'), 'the message');
  await request(serving.url);
  const collector = childOf(child.pid ?? 0, / run /);
  process.kill(collector, 'SIGHUP');
  await serving.until(() => serving.log.includes('the settings were read again'), 'the reload');
  process.kill(collector, 'SIGINT');
  assert.equal(await serving.ended, 0, serving.log);

  const all = processes(folder);
  const isServer = ({ command }: TracedProcess): boolean => command.includes('"server"');
  const [server, ...more] = all.filter(isServer);
  assert.ok(server !== undefined && more.length === 0, 'there is one server');
  assert.ok(
    all.some(({ command }) => command.includes('"run"')),
    'the collector was traced',
  );
  assert.deepEqual(all.filter((one) => !isServer(one)).flatMap(inetSockets), []);
  assertServer(server);
});

test('the same is true for collect and serve', async (t) => {
  const socket = join(program.folder, 'stream.sock');
  const start = async (...args: string[]) => {
    const { child, folder } = await startTraced(t, process.execPath, [program.path, ...args]);
    const serving = new Serving(child);
    const stop = async (): Promise<TracedProcess[]> => {
      process.kill(childOf(child.pid ?? 0, /tracer\.mjs/), 'SIGINT');
      assert.equal(await serving.ended, 0, serving.log);
      return processes(folder);
    };
    return { serving, stop };
  };
  const collect = await start('collect', `--collector.socket=${socket}`, '--bpftrace.path=/nowhere/bpftrace');
  const { serving, stop } = await start('serve', socket, '--web.listen-address=127.0.0.1:0');
  await serving.until(() => serving.log.includes('this host cannot be traced'), 'the message');
  await request(serving.url);
  const [server, ...more] = await stop();
  assert.ok(server !== undefined && more.length === 0, 'the server starts no process');
  assertServer(server);
  const collectors = await collect.stop();
  assert.ok(collectors.some(({ calls }) => calls.some(({ text }) => text.startsWith('socket(AF_UNIX'))));
  assert.deepEqual(collectors.flatMap(inetSockets), []);
});

test('a collector that traces, takes snapshots and reads processes opens no network socket', async (t) => {
  const { child, folder } = await startTraced(t, process.execPath, ['--import', 'tsx', COLLECTOR]);
  const collecting = new Serving(child);
  assert.equal(await collecting.ended, 0, collecting.log);
  assert.match(collecting.log, /"type":"snapshot"/);
  assert.match(collecting.log, /"type":"process"/);
  const all = processes(folder);
  assert.ok(
    all.some(({ command }) => command.includes('bpftrace')),
    'bpftrace was traced',
  );
  assert.deepEqual(all.flatMap(inetSockets), []);
});
