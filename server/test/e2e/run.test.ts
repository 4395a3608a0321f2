import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { childOf } from '../fixtures/child-of.ts';
import { eventually } from '../fixtures/eventually.ts';
import { Program } from './program.ts';

const program = new Program();
before(() => program.build());
after(() => program.remove());

const nowhere = '--bpftrace.path=/nowhere/bpftrace';

test('on a host that cannot be traced, up is 0, the daemon is not ready, and the log has the remedy', async (t) => {
  const serving = await program.serve(t, ['run', nowhere]);
  const ask = (path: string) => fetch(`${serving.url}${path}`);
  await serving.until(() => serving.log.includes('this host cannot be traced'), 'the message');
  assert.equal(serving.log.match(/this host cannot be traced/g)?.length, 1);
  assert.match(serving.log, /"remedy":"[^"]+"/);
  const ready = await ask('/-/ready');
  assert.equal(ready.status, 503);
  assert.match(await ready.text(), /^not ready: this host cannot be traced: .+\n$/);
  assert.equal((await ask('/-/healthy')).status, 200);
  assert.match(await (await ask('/runbooks/VfioDmabufTracerBlind')).text(), /^# VfioDmabufTracerBlind\n/);
  assert.match(await (await ask('/metrics')).text(), /^vfio_dmabuf_up 0$/m);
  serving.child.kill('SIGINT');
  assert.equal(await serving.ended, 0);
});

test('with --strict, run exits with 3 and prints the remedy', () => {
  const { code, stderr } = program.run(['--strict', nowhere, '--web.listen-address=127.0.0.1:0']);
  assert.equal(code, 3);
  assert.match(stderr, /^vfio-dmabuf-tracer: this host cannot be traced: .+\n {2}fix: .+\n$/);
});

test('record --strict exits with 3', () => {
  const file = join(program.folder, 'untraceable.jsonl');
  assert.equal(program.run(['record', file, '--strict', nowhere]).code, 3);
});

test('probes prints a program to stdout, and what is missing to stderr', () => {
  const { code, stdout, stderr } = program.run(['probes', nowhere]);
  assert.equal(code, 0);
  assert.match(stdout, /^BEGIN \{$/m);
  assert.match(stderr, /^kernel .+, dialect \S+, bpftrace none\n/);
  assert.match(stderr, /fix: /);
});

for (const args of [
  ['record', '/nowhere/x.gz'],
  ['run', '--record=/nowhere/x.gz', '--web.listen-address=127.0.0.1:0'],
]) {
  test(`${args[0]} exits with 1 at the start if it cannot write the recording, and names the file`, () => {
    const { code, stderr } = program.run([...args, nowhere]);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^vfio-dmabuf-tracer: the recording cannot be written: ENOENT\n.*where: \/nowhere\/x\.gz/s,
    );
  });
}

test('run --record on a full disk reports it at once in the log and the metrics, and continues to serve', async (t) => {
  const serving = await program.serve(t, ['run', nowhere, '--record=/dev/full', '--log.format=json']);
  const ask = (path: string) => fetch(`${serving.url}${path}`);
  await eventually(async () =>
    assert.match(await (await ask('/metrics')).text(), /^vfio_dmabuf_recording_up 0$/m),
  );
  const logged = serving.log.match(/"msg":"the recording has ended: ENOSPC[^"]*"/g) ?? [];
  assert.equal(logged.length, 1, serving.log);
  assert.match(await (await ask('/metrics')).text(), /^vfio_dmabuf_recording_lines_dropped_total [1-9]/m);
  assert.equal((await ask('/-/healthy')).status, 200);
  serving.child.kill('SIGINT');
  assert.equal(await serving.ended, 0);
});

test('run --record writes what it serves, has metrics of the recording, and the recording can be replayed', async (t) => {
  const file = join(program.folder, 'served.jsonl.gz');
  const serving = await program.serve(t, ['run', nowhere, `--record=${file}`]);
  await serving.until(() => serving.log.includes('this host cannot be traced'), 'the message');
  const metrics = await (await fetch(`${serving.url}/metrics`)).text();
  assert.match(metrics, /^vfio_dmabuf_recording_lines_dropped_total 0$/m);
  serving.child.kill('SIGTERM');
  assert.equal(await serving.ended, 0);
  assert.match(serving.log, /"file":"[^"]+served.jsonl.gz","written":\d+,.*"recorded"/);
  const { code, stdout, stderr } = program.run(['replay', file, '--print=metrics']);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^vfio_dmabuf_up 0$/m);
  assert.doesNotMatch(stdout, /recording_lines_dropped/);
});

test('run --simulate reports the simulation in its log, its metrics and its recording', async (t) => {
  const file = join(program.folder, 'simulated.jsonl');
  const serving = await program.serve(t, [
    'run',
    nowhere,
    '--simulate=loss=10%,crash=5m',
    `--record=${file}`,
  ]);
  await serving.until(() => serving.log.includes('this host cannot be traced'), 'the message');
  assert.match(serving.log, /"level":"warn".*"simulate":"loss=10%,crash=5m".*simulating faults/);
  const metrics = await (await fetch(`${serving.url}/metrics`)).text();
  assert.match(metrics, /^vfio_dmabuf_simulation_info\{faults="loss=10%,crash=5m"\} 1$/m);
  serving.child.kill('SIGTERM');
  assert.equal(await serving.ended, 0);
  assert.match(program.run(['replay', file, '--print=metrics']).stdout, /^vfio_dmabuf_simulation_info\{/m);
});

test('an unknown fault in a flag or the environment is reported with a valid one', () => {
  const flag = program.run(['run', nowhere, '--simulate=loss=200%']);
  assert.equal(flag.code, 2);
  assert.match(
    flag.stderr,
    /simulate: loss cannot be "200%": give a percentage.*\n.*flag --simulate\n.*crash=5m/,
  );
  const env = { VFIO_DMABUF_TRACER_SIMULATE: 'crsh=5m' };
  assert.match(program.run(['run', nowhere], { env }).stderr, /no fault "crsh"; did you mean crash\?/);
});

test('run ends with an error if its server is killed', async (t) => {
  const serving = await program.serve(t, ['run', nowhere]);
  process.kill(childOf(serving.child.pid ?? 0, / server /), 'SIGKILL');
  assert.equal(await serving.ended, 1);
  assert.match(serving.log, /"signal":"SIGKILL".*"the server has ended"/);
});

test('the server ends with an error if the collector is killed', async (t) => {
  const serving = await program.serve(t, ['run', nowhere]);
  await serving.until(() => serving.log.includes('this host cannot be traced'), 'the message');
  serving.child.kill('SIGKILL');
  // The server has the same output, so the output ends when both have ended.
  await serving.ended;
  assert.match(serving.log, /the stream has ended: its collector has stopped/);
});

test('run exits with 1 and one message if its address is in use', async (t) => {
  const serving = await program.serve(t, ['run', nowhere]);
  const { port } = new URL(serving.url);
  const { code, stderr } = program.run(['run', nowhere, `--web.listen-address=127.0.0.1:${port}`]);
  assert.equal(code, 1);
  assert.match(stderr, /^vfio-dmabuf-tracer: cannot listen on .+ already listens/);
  assert.equal(stderr.match(/vfio-dmabuf-tracer:/g)?.length, 1);
});

test('a SIGHUP before the server listens is passed on when it listens', async (t) => {
  const serving = program.start(t, ['run', nowhere, '--web.listen-address=127.0.0.1:0']);
  await eventually(() => childOf(serving.child.pid ?? 0, / server /));
  serving.child.kill('SIGHUP');
  await serving.until(() => serving.log.includes('the settings were read again'), 'the reload');
  assert.ok(serving.log.indexOf('"listening"') < serving.log.indexOf('the settings were read again'));
});
