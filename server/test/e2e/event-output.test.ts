import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually } from '../fixtures/eventually.ts';
import { exported, HEADER, ready, starting } from '../fixtures/stream-lines.ts';
import { STREAM } from '../http/build.ts';
import { Program, type Serving } from './program.ts';

const program = new Program();
const recording = join(program.folder, 'stream.jsonl');
before(() => {
  program.build();
  writeFileSync(recording, `${STREAM.join('\n')}\n`);
});
after(() => program.remove());

interface Line {
  log: string;
  kind: string;
  seq: number;
}

function linesOf(text: string): Line[] {
  assert.ok(text.endsWith('\n'), text);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
}

async function metrics(serving: Serving): Promise<string> {
  return await (await fetch(`${serving.url}/metrics`)).text();
}

async function end(serving: Serving): Promise<void> {
  serving.child.kill('SIGTERM');
  assert.equal(await serving.ended, 0, serving.log);
}

test('replay writes the events of the API to a file, and the metrics count them', async (t) => {
  const file = join(program.folder, 'all.jsonl');
  const serving = await program.serve(t, ['replay', recording, `--events.output=${file}`]);
  await serving.until(() => serving.log.includes('the end of the recording'), 'the end');
  await eventually(async () =>
    assert.match(await metrics(serving), /^vfio_dmabuf_events_output_written_total [1-9]\d*$/m),
  );
  const answer = await (await fetch(`${serving.url}/api/v1/events?limit=1000`)).json();
  const { log, events } = answer as { log: string; events: Line[] };
  assert.ok(events.length > 5);
  await eventually(() => assert.equal(linesOf(readFileSync(file, 'utf8')).length, events.length + 1));
  const [start, ...lines] = linesOf(readFileSync(file, 'utf8'));
  assert.deepEqual([start?.log, start?.kind], [log, 'start']);
  assert.deepEqual(
    lines,
    events.map((event) => ({ ...event, log })),
  );
  const text = await metrics(serving);
  assert.match(text, new RegExp(`^vfio_dmabuf_events_output_written_total ${events.length}$`, 'm'));
  assert.match(text, /^vfio_dmabuf_events_output_dropped_total 0$/m);
  assert.match(text, /^vfio_dmabuf_events_output_up 1$/m);
  await end(serving);
  const without = await program.serve(t, ['replay', recording]);
  assert.doesNotMatch(await metrics(without), /events_output/);
  await end(without);
});

/** Returns a function that returns the standard output so far. */
function outputOf({ child }: Serving): () => string {
  let output = '';
  child.stdout?.on('data', (chunk) => {
    output += chunk;
  });
  return () => output;
}

test('with -, standard output has only the filtered events, and log lines are on standard error', async (t) => {
  const serving = program.start(t, [
    'replay',
    recording,
    '--web.listen-address=127.0.0.1:0',
    '--events.output=-',
    '--events.output-kinds=export',
    '--events.output-kinds=import',
    '--events.output-results=failed',
  ]);
  const output = outputOf(serving);
  await serving.listening();
  await eventually(() => assert.equal(output().split('\n').length, 4));
  await end(serving);
  const [start, ...lines] = linesOf(output());
  assert.deepEqual(start, {
    ...start,
    kinds: ['export', 'import'],
    results: ['failed'],
    devices: [],
  });
  assert.deepEqual(
    lines.map(({ kind }) => kind),
    ['import', 'export'],
  );
});

test('a wrong filter is an error with its place and the valid values', () => {
  const wrong = (...flags: string[]) => program.run(['replay', recording, ...flags, '--config.check']);
  const kind = wrong('--events.output-kinds=exports', '--events.output-devices=41.0');
  assert.equal(kind.code, 2);
  assert.match(
    kind.stderr,
    /events\.output-kinds cannot be \["exports"\]\n.*flag --events\.output-kinds\n.*fix: give one of export, release,.*incident/,
  );
  assert.match(kind.stderr, /events\.output-devices cannot be \["41\.0"\]\n.*\n.*fix: give a PCI address/);
  const env = { VFIO_DMABUF_TRACER_EVENTS_OUTPUT_RESULTS: 'ok,rejected' };
  assert.match(program.run(['replay', recording], { env }).stderr, /fix: give one of ok, failed/);
});

test('SIGHUP opens a renamed file again under load, and each event is in one of the files', async (t) => {
  const file = join(program.folder, 'rotated.jsonl');
  const serving = await program.serve(t, ['serve', '-', `--events.output=${file}`]);
  const { stdin } = serving.child;
  stdin?.write(`${[HEADER, starting(1, 1), ready(2)].join('\n')}\n`);
  const files: string[] = [];
  let events = 0;
  for (let rotation = 1; rotation <= 10; rotation++) {
    for (let burst = 0; burst < 20; burst++) {
      const lines = Array.from({ length: 50 }, () => exported({ t: 1000 + ++events, inode: events }));
      stdin?.write(`${lines.join('\n')}\n`);
    }
    const old = `${file}.${rotation}`;
    renameSync(file, old);
    files.push(old);
    serving.child.kill('SIGHUP');
    await eventually(() => assert.ok(existsSync(file)), 1);
  }
  await serving.until(
    async () => (await metrics(serving)).includes(`events_output_written_total ${events}\n`),
    'the last event',
  );
  const lines = [...files, file].flatMap((one) => {
    const text = readFileSync(one, 'utf8');
    return text === '' ? [] : linesOf(text);
  });
  assert.deepEqual(
    lines.slice(1).map(({ seq }) => seq),
    Array.from({ length: events }, (_, index) => index + 1),
  );
  await end(serving);
});

test('a named pipe without a reader, and then with a reader that does not read, does not delay the daemon', async (t) => {
  const pipe = join(program.folder, 'pipe');
  assert.equal(spawnSync('mkfifo', [pipe]).status, 0);
  const serving = await program.serve(t, ['replay', recording, `--events.output=${pipe}`]);
  assert.match(await metrics(serving), /^vfio_dmabuf_events_output_up 0$/m);
  assert.match(serving.log, /has no reader yet/);
  const text = readFile(pipe, 'utf8');
  await eventually(async () => assert.match(await metrics(serving), /^vfio_dmabuf_events_output_up 1$/m));
  await end(serving);
  assert.ok(linesOf(await text).length > 5);
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  t.after(() => closeSync(reader));
  const stalled = await program.serve(t, ['serve', '-', `--events.output=${pipe}`]);
  stalled.child.stdin?.write(`${[HEADER, starting(1, 1), ready(2)].join('\n')}\n`);
  await eventually(async () => {
    const lines = Array.from({ length: 2000 }, (_, index) => exported({ t: 1000, inode: index + 1 }));
    stalled.child.stdin?.write(`${lines.join('\n')}\n`);
    assert.match(await metrics(stalled), /^vfio_dmabuf_events_output_dropped_total [1-9]/m);
  });
  await end(stalled);
});

test('the server of run writes the file, or reports which user cannot, and how to change it', async (t) => {
  const nowhere = '--bpftrace.path=/nowhere/bpftrace';
  const isRoot = process.geteuid?.() === 0;
  const folder = join(program.folder, 'events');
  mkdirSync(folder);
  if (isRoot) {
    const { code, stderr } = program.run(['run', nowhere, `--events.output=${join(folder, 'x')}`]);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^vfio-dmabuf-tracer: the event output cannot be written: EACCES\n {2}where: .*\/x\n {2}fix: let user 65534 .*--server-user/,
    );
    spawnSync('chown', ['65534:65534', folder]);
  }
  const file = join(folder, 'events.jsonl');
  const serving = await program.serve(t, ['run', nowhere, `--events.output=${file}`]);
  await eventually(() => assert.equal(linesOf(readFileSync(file, 'utf8')).length, 1));
  renameSync(file, `${file}.1`);
  serving.child.kill('SIGHUP');
  await eventually(() => assert.ok(existsSync(file)));
  await end(serving);
});

test('run with - has only events on standard output', async (t) => {
  const serving = program.start(t, [
    'run',
    '--bpftrace.path=/nowhere/bpftrace',
    '--web.listen-address=127.0.0.1:0',
    '--events.output=-',
  ]);
  const output = outputOf(serving);
  await serving.until(() => serving.log.includes('this host cannot be traced'), 'the message');
  await eventually(() => assert.notEqual(output(), ''));
  await end(serving);
  assert.deepEqual(
    linesOf(output()).map(({ kind }) => kind),
    ['start'],
  );
});

test('serve ends in time although nobody reads its standard output', async (t) => {
  const child = spawn(
    process.execPath,
    [program.path, 'serve', '-', '--web.listen-address=127.0.0.1:0', '--events.output=-'],
    {
      env: {},
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
  t.after(() => child.kill('SIGKILL'));
  child.stderr.resume();
  child.stdin.write(`${[HEADER, starting(1, 1), ready(2)].join('\n')}\n`);
  const lines = Array.from({ length: 5000 }, (_, index) => exported({ t: 1000, inode: index + 1 }));
  await new Promise((resolve) => child.stdin.write(`${lines.join('\n')}\n`, resolve));
  child.kill('SIGTERM');
  const [code] = (await once(child, 'exit')) as [number | null];
  assert.equal(code, 0);
});
