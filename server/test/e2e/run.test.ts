import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { Program } from './program.ts';

const program = new Program();
before(() => program.build());
after(() => program.remove());

const nowhere = '--bpftrace.path=/nowhere/bpftrace';

test('a host that cannot be traced is served as up 0, not ready, with the remedy in the log', async (t) => {
  const serving = await program.serve(t, ['run', nowhere]);
  const ask = (path: string) => fetch(`${serving.url}${path}`);
  await serving.until(() => serving.log.includes('this host cannot be traced'), 'the message');
  assert.equal(serving.log.match(/this host cannot be traced/g)?.length, 1);
  assert.match(serving.log, /"remedy":"[^"]+"/);
  const ready = await ask('/-/ready');
  assert.equal(ready.status, 503);
  assert.match(await ready.text(), /^not ready: this host cannot be traced: .+\n$/);
  assert.equal((await ask('/-/healthy')).status, 200);
  assert.match(await (await ask('/metrics')).text(), /^vfio_dmabuf_up 0$/m);
  serving.child.kill('SIGINT');
  assert.equal(await serving.ended, 0);
});

test('with --strict it ends with 3 and says what to do', () => {
  const { code, stderr } = program.run(['--strict', nowhere, '--web.listen-address=127.0.0.1:0']);
  assert.equal(code, 3);
  assert.match(stderr, /^vfio-dmabuf-tracer: this host cannot be traced: .+\n {2}to mend it: .+\n$/);
});

test('record --strict ends with 3 as well', () => {
  const file = join(program.folder, 'untraceable.jsonl');
  assert.equal(program.run(['record', file, '--strict', nowhere]).code, 3);
});

test('probes prints a program to stdout and what is missing to stderr', () => {
  const { code, stdout, stderr } = program.run(['probes', nowhere]);
  assert.equal(code, 0);
  assert.match(stdout, /^BEGIN \{$/m);
  assert.match(stderr, /^kernel .+, dialect \S+, bpftrace none\n/);
  assert.match(stderr, /to mend it: /);
});

test('a file that cannot be written is named', () => {
  const { code, stderr } = program.run(['record', '/nowhere/x.gz', nowhere]);
  assert.equal(code, 1);
  assert.match(stderr, /where: \/nowhere\/x\.gz/);
});

// A fake child needs no kernel, but what is asked of the host before it does.
const traceable =
  process.geteuid?.() === 0 &&
  existsSync('/sys/kernel/btf/vmlinux') &&
  existsSync('/sys/kernel/tracing/available_filter_functions');
const skip = traceable ? false : 'needs root, BTF and tracefs';

test('a child that traces makes it ready, and a signal ends both', { skip }, async (t) => {
  const bpftrace = program.fakeBpftrace();
  const serving = await program.serve(t, ['run', `--bpftrace.path=${bpftrace}`]);
  const ready = async () => (await fetch(`${serving.url}/-/ready`)).status === 200;
  await serving.until(ready, 'it to be ready');
  assert.match(await (await fetch(`${serving.url}/metrics`)).text(), /^vfio_dmabuf_up 1$/m);
  serving.child.kill('SIGTERM');
  assert.equal(await serving.ended, 0);
});

test('what record has written can be replayed', { skip }, async (t) => {
  const bpftrace = program.fakeBpftrace();
  const file = join(program.folder, 'made.jsonl.gz');
  const recording = program.start(t, ['record', file, `--bpftrace.path=${bpftrace}`]);
  const text = () => (existsSync(file) && readFileSync(file).length > 0 ? readFileSync(file) : undefined);
  await recording.until(() => (text()?.length ?? 0) > 500, 'something to be written');
  recording.child.kill('SIGINT');
  assert.equal(await recording.ended, 0);
  assert.match(gunzipSync(readFileSync(file)).toString(), /^\{"type":"header"/);
  const { code, stdout, stderr } = program.run(['replay', file, '--print=metrics']);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^vfio_dmabuf_source_info\{kind="replay"/m);
});
