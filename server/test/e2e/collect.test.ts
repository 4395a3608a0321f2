import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { wantedBy } from '../../src/bpftrace/compiler/compose.ts';
import { loadFragments } from '../../src/bpftrace/compiler/fragment.ts';
import type { BufferView } from '../../src/contract/buffers.ts';
import type { Status } from '../../src/contract/status.ts';
import { probesDirectory } from '../../src/lib/probes-directory.ts';
import { fakeHost } from '../collector/fake-host.ts';
import { fakeBpftrace, temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { Program, Serving } from './program.ts';
import { underSystemd } from './service.ts';

const COLLECT = fileURLToPath(new URL('collect-fake-host.ts', import.meta.url));
const nowhere = '--bpftrace.path=/nowhere/bpftrace';

const program = new Program();
before(() => program.build());
after(() => program.remove());

/** A fake host, and a function that starts its collector. */
async function tracedHost(t: TestContext, mode: string, argument = '') {
  const { procRoot, sysRoot, loadModule, addProcess } = await fakeHost(t);
  const { functions, members } = wantedBy(await loadFragments(probesDirectory()));
  await loadModule('vfio_pci_core', functions, members);
  await addProcess(1, 1, ['qemu-system-x86_64', '-name', 'guest=web']);
  const socket = join(await temporaryFolder(t), 'stream.sock');
  const bpftrace = await fakeBpftrace(t, mode, argument);
  const args = ['--import', 'tsx', COLLECT, procRoot, sysRoot, bpftrace, socket];
  const collect = async (): Promise<Serving> => {
    const collector = new Serving(spawn(process.execPath, args));
    t.after(() => collector.child.kill('SIGKILL'));
    await collector.until(() => collector.log.includes('passing the stream on'), 'the collector to listen');
    return collector;
  };
  return { socket, collect, command: [process.execPath, ...args] };
}

/** The values of these series of a server; 0 if they are absent. */
async function samples(serving: Serving, ...series: string[]): Promise<number[]> {
  const text = await (await fetch(`${serving.url}/metrics`)).text();
  const lines = text.split('\n');
  return series.map((name) => {
    const line = lines.find((candidate) => candidate.startsWith(`vfio_dmabuf_${name} `));
    return Number(line?.split(' ').at(-1) ?? 0);
  });
}

const RECEIVED = 'events_total{kind="export"}';
const RELAY_LOST = 'events_lost_total{stage="relay"}';
const RING_LOST = 'events_lost_total{stage="kernel_ring"}';

async function status(serving: Serving): Promise<Status> {
  return (await (await fetch(`${serving.url}/api/v1/status`)).json()) as Status;
}

async function isReady(serving: Serving): Promise<boolean> {
  return (await fetch(`${serving.url}/-/ready`)).status === 200;
}

function untilSamples(serving: Serving, series: readonly string[], values: readonly number[]): Promise<void> {
  return serving.until(
    async () => {
      const found = await samples(serving, ...series);
      return found.every((value, index) => value === values[index]);
    },
    `${series.join(', ')} to be ${values.join(', ')}`,
  );
}

test('two servers of one collector serve the same, and one that is killed and started again knows the state', async (t) => {
  const trigger = join(program.folder, 'two');
  const { socket, collect } = await tracedHost(t, 'flood-later', `${trigger}|300`);
  const first = await program.serve(t, ['serve', socket]);
  const second = await program.serve(t, ['serve', socket]);
  assert.equal(await isReady(first), false, 'there is no collector yet');
  const collector = await collect();
  for (const server of [first, second]) await server.until(() => isReady(server), 'the server to be ready');
  await collector.until(() => collector.log.includes('"readers":2'), 'two readers');
  writeFileSync(trigger, '');
  for (const server of [first, second])
    await untilSamples(server, [RECEIVED, RING_LOST, RELAY_LOST], [300, 0, 0]);

  second.child.kill('SIGKILL');
  await second.ended;
  const third = await program.serve(t, ['serve', socket]);
  await third.until(() => isReady(third), 'the third server to be ready');
  await untilSamples(third, ['up', RECEIVED, RING_LOST, 'buffer_state_exact'], [1, 0, 0, 1]);
  const { state, source } = await status(third);
  assert.deepEqual([state, source], ['tracing', { kind: 'live', name: 'stream.sock' }]);
  assert.deepEqual(await samples(first, RECEIVED, RING_LOST), [300, 0], 'the other one continues');
  const { buffers } = (await (await fetch(`${third.url}/api/v1/buffers`)).json()) as {
    buffers: BufferView[];
  };
  assert.equal(buffers[0]?.vm?.name, 'web', 'the process was reported before it had joined');
});

test('a server continues after its collector was killed and started again', async (t) => {
  const trigger = join(program.folder, 'killed');
  const { socket, collect } = await tracedHost(t, 'flood-later', `${trigger}|50`);
  const collector = await collect();
  const server = await program.serve(t, ['serve', socket]);
  await collector.until(() => collector.log.includes('a reader has joined'), 'the server to join');
  writeFileSync(trigger, '');
  await untilSamples(server, [RECEIVED, 'up'], [50, 1]);
  rmSync(trigger);
  collector.child.kill('SIGKILL');
  await collector.ended;
  await server.until(() => server.log.includes('the connection to the collector is lost'), 'the message');
  const next = await collect();
  await next.until(() => next.log.includes('a reader has joined'), 'the server to join again');
  writeFileSync(trigger, '');
  await untilSamples(server, [RECEIVED, 'up', RING_LOST], [100, 1, 0]);
  const { generation } = await status(server);
  assert.equal(generation, 2);
  const [blind] = await samples(server, 'blind_seconds_total');
  assert.ok((blind ?? 0) > 0);

  next.child.kill('SIGTERM');
  assert.equal(await next.ended, 0);
  await server.until(async () => (await samples(server, 'up'))[0] === 0, 'up to be 0');
  server.child.kill('SIGTERM');
  assert.equal(await server.ended, 0);
});

test('a server that does not read delays no other one, and counts what was dropped for it', async (t) => {
  const events = 20_000;
  const trigger = join(program.folder, 'slow');
  const { socket, collect } = await tracedHost(t, 'flood-later', `${trigger}|${events}`);
  const collector = await collect();
  const slow = await program.serve(t, ['serve', socket]);
  const fast = await program.serve(t, ['serve', socket]);
  for (const server of [slow, fast]) await server.until(() => isReady(server), 'the server to be ready');
  slow.child.kill('SIGSTOP');
  writeFileSync(trigger, '');
  // On a busy machine the other one may be too slow at times too, but it does not wait for this one.
  const complete = async (server: Serving): Promise<boolean> => {
    const [received = 0, lost = 0] = await samples(server, RECEIVED, RELAY_LOST);
    return received + lost === events;
  };
  await fast.until(() => complete(fast), 'each event to be received or counted as lost');
  slow.child.kill('SIGCONT');
  await collector.until(() => collector.log.includes('lines were dropped for a reader'), 'the message');
  await slow.until(() => complete(slow), 'each event to be received or counted as lost');
  const [received, lost, ring] = await samples(slow, RECEIVED, RELAY_LOST, RING_LOST);
  assert.ok((received ?? 0) > 0 && (lost ?? 0) > 0);
  assert.equal(ring, 0);
  await untilSamples(slow, ['up', 'buffer_state_exact'], [1, 1]);
});

test('the stream of the socket is a recording', async (t) => {
  const { socket, collect } = await tracedHost(t, 'busy', '20');
  const collector = await collect();
  const file = join(program.folder, 'read.ndjson');
  let text = '';
  const reader = connect(socket, () => reader.end('{}\n'));
  reader.on('data', (chunk) => {
    text += chunk;
  });
  await collector.until(() => text.includes('[2,') && text.includes('"snapshot"'), 'an event and a snapshot');
  collector.child.kill('SIGTERM');
  await collector.ended;
  writeFileSync(file, text);
  const { code, stdout, stderr } = program.run(['replay', file, '--print=metrics']);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^vfio_dmabuf_decode_errors_total\{reason="bad_collector_line"\} 0$/m);
  assert.match(stdout, /^vfio_dmabuf_buffers\{.*\} [1-9]/m);
});

test('on a host that cannot be traced, a server of the collector says so; the socket is for owner and group', async (t) => {
  const socket = join(await temporaryFolder(t), 'stream.sock');
  const gid = String(process.getgid?.() ?? 0);
  const collector = program.start(t, [
    'collect',
    nowhere,
    `--collector.socket=${socket}`,
    `--collector.group=${gid}`,
  ]);
  await collector.until(() => collector.log.includes('passing the stream on'), 'the collector to listen');
  assert.equal(statSync(socket).mode & 0o777, 0o660);
  const server = await program.serve(t, ['serve', socket]);
  await server.until(() => server.log.includes('this host cannot be traced'), 'the message');

  const other = program.run(['collect', nowhere, `--collector.socket=${socket}`]);
  assert.equal(other.code, 1);
  assert.match(
    other.stderr,
    /another collector listens on this socket\n {2}where: .*stream\.sock\n {2}fix: /,
  );
  assert.deepEqual(await samples(server, 'up'), [0]);

  collector.child.kill('SIGKILL');
  await collector.ended;
  assert.ok(statSync(socket).isSocket(), 'the killed collector has left its socket');
  const next = program.start(t, ['collect', nowhere, `--collector.socket=${socket}`]);
  await next.until(() => next.log.includes('a reader has joined'), 'the server to connect again');
  next.child.kill('SIGTERM');
  assert.equal(await next.ended, 0);
  assert.throws(() => statSync(socket), /ENOENT/);
});

test('collect keeps a file at the path of its socket, and exits with 1', async (t) => {
  const file = join(await temporaryFolder(t), 'stream.sock');
  writeFileSync(file, 'important');
  const { code, stderr } = program.run(['collect', nowhere, `--collector.socket=${file}`]);
  assert.equal(code, 1);
  assert.match(stderr, /a file of that name that is not a socket; it is kept\n {2}where: .*\n {2}fix: /);
  assert.equal(readFileSync(file, 'utf8'), 'important');
});

test('collect --strict exits with 3, and an unknown group is an error of the configuration', async (t) => {
  const flag = `--collector.socket=${join(await temporaryFolder(t), 'stream.sock')}`;
  assert.equal(program.run(['collect', nowhere, flag, '--strict']).code, 3);
  const { code, stderr } = program.run(['collect', nowhere, flag, '--collector.group=no-such-group']);
  assert.equal(code, 2);
  assert.match(
    stderr,
    /there is no group no-such-group in \/etc\/group\n.*where: collector\.group\n.*fix: .*groupadd/,
  );
});

test('reports its state to systemd, and passes neither the connection nor its variables on to bpftrace', async (t) => {
  const { command } = await tracedHost(t, 'counting');
  const service = underSystemd(t, command, [], {
    NOTIFY_SOCKET: '/run/systemd/notify',
    WATCHDOG_USEC: '800000',
  });
  await service.until(
    () => /STATUS=tracing with .*WATCHDOG=1/s.test(service.messages),
    'the collector to trace',
  );
  assert.match(service.messages, /READY=1/);

  const { pid } = service.child;
  const connection = readlinkSync(`/proc/${pid}/fd/3`);
  const [child = ''] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
  const opened = readdirSync(`/proc/${child}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${child}/fd/${fd}`);
    } catch {
      return '';
    }
  });
  assert.ok(opened.length > 2);
  assert.equal(opened.includes(connection), false);
  assert.doesNotMatch(readFileSync(`/proc/${child}/environ`, 'latin1'), /NOTIFY|LISTEN|WATCHDOG/);

  service.child.kill('SIGTERM');
  assert.equal(await service.ended, 0, service.log);
  assert.match(service.messages, /STOPPING=1/);
});
