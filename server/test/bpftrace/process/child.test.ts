import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { BpftraceChild, type ChildEnd, type ChildTiming } from '../../../src/bpftrace/process/child.ts';
import { childEnvironment, findGuard } from '../../../src/bpftrace/process/launch.ts';
import { readStat } from '../../../src/host/proc.ts';
import { eventually } from '../../fixtures/eventually.ts';
import { fakeBpftrace, temporaryFolder } from '../../fixtures/fake-bpftrace/fake-bpftrace.ts';

const TIMING: ChildTiming = { readyMs: 20_000, silenceMs: 20_000, stopMs: 20_000 };

interface Run {
  child: BpftraceChild;
  lines: string[];
  dropped: () => number;
  ready: Promise<void>;
  end: Promise<ChildEnd>;
}

async function start(
  t: TestContext,
  mode: string,
  argument = '',
  timing: Partial<ChildTiming> = {},
): Promise<Run> {
  const path = await fakeBpftrace(t, mode, argument);
  const lines: string[] = [];
  let dropped = 0;
  let setReady = (): void => {};
  const ready = new Promise<void>((resolve) => {
    setReady = resolve;
  });
  const env = childEnvironment({ ...process.env, FAKE_SECRET: 'x' }, 64);
  const child = new BpftraceChild({
    launch: { path, guard: [], env },
    program: 'BEGIN {}\n',
    timing: { ...TIMING, ...timing },
    onLine: ({ raw }) => lines.push(raw),
    onReady: () => setReady(),
    onDropped: () => dropped++,
  });
  const end = child.run();
  t.after(async () => {
    if (child.pid !== undefined && existsSync(`/proc/${child.pid}`)) process.kill(child.pid, 'SIGKILL');
    await end;
  });
  return { child, lines, dropped: () => dropped, ready, end };
}

function isBeat(line: string): boolean {
  return /"data": ?\[1,/.test(line);
}

test('a child is ready after its ready record, and it may be stopped more than once', async (t) => {
  const run = await start(t, 'normal');
  await run.ready;
  assert.match(run.lines[0] ?? '', /attached_probes/);
  assert.match(run.lines[1] ?? '', /\[0,/);
  await eventually(() => assert.ok(run.lines.some(isBeat)));
  run.child.stop();
  run.child.stop();
  const end = await run.end;
  assert.deepEqual([end.reason, end.ready, end.code], ['stopped', true, 0]);
  run.child.stop();
});

test('a child that ignores SIGINT is killed', async (t) => {
  const run = await start(t, 'stubborn', '', { stopMs: 100 });
  await run.ready;
  run.child.stop();
  assert.equal((await run.end).reason, 'stopped');
  assert.ok(!existsSync(`/proc/${run.child.pid}`));
});

test('a child that is stopped before it starts still ends', async (t) => {
  const path = await fakeBpftrace(t, 'normal');
  const child = new BpftraceChild({
    launch: { path, guard: [], env: process.env },
    program: '',
    timing: { ...TIMING, stopMs: 100 },
    onLine: () => {},
  });
  child.stop();
  assert.equal((await child.run()).reason, 'stopped');
});

test('a child that crashes, is killed or ends within a line reports how it ended', async (t) => {
  const crash = await (await start(t, 'crash')).end;
  assert.deepEqual([crash.reason, crash.ready], ['crashed', true]);
  assert.equal(crash.message, 'exited with 1: ERROR: something at [address] broke');
  assert.equal((await (await start(t, 'killed')).end).reason, 'killed');
  const partial = await start(t, 'partial');
  assert.equal((await partial.end).reason, 'crashed');
  assert.equal(partial.dropped(), 1);
});

test('a child that cannot start reports the reason', async (t) => {
  for (const [sample, reason] of [
    ['not-root-0.23', 'not_root'],
    ['lockdown-0.27', 'lockdown'],
    ['no-tracefs-0.27', 'no_symbols'],
    ['syntax-0.27', 'compile_error'],
  ] as const) {
    const end = await (await start(t, 'fail', sample)).end;
    assert.deepEqual([end.reason, end.ready], [reason, false], sample);
  }
});

test('a path that cannot be run ends with start_failed', async () => {
  const child = new BpftraceChild({
    launch: { path: '/nonexistent/bpftrace', guard: [], env: process.env },
    program: '',
    timing: TIMING,
    onLine: () => {},
  });
  const end = await child.run();
  assert.equal(end.reason, 'start_failed');
  assert.match(end.message, /ENOENT/);
});

test('a child that does not become ready, or stops printing, is ended', async (t) => {
  const late = await (await start(t, 'never-ready', '', { readyMs: 200 })).end;
  assert.deepEqual([late.reason, late.message], ['start_failed', 'not ready within 0.2 s']);
  const hung = await start(t, 'hung', '', { silenceMs: 200 });
  const end = await hung.end;
  assert.deepEqual([end.reason, end.ready], ['hung', true]);
});

test('the lines after garbage, binary data and blank lines are still read', async (t) => {
  for (const mode of ['garbage', 'binary']) {
    const run = await start(t, mode);
    await run.ready;
    await eventually(() => assert.ok(run.lines.some(isBeat)));
    assert.ok(run.lines.every((line) => line.trim() !== ''));
    run.child.stop();
    assert.equal((await run.end).reason, 'stopped');
  }
});

test('a line of 10 MB is dropped completely and counted', async (t) => {
  const run = await start(t, 'long-line');
  await eventually(() => assert.ok(run.lines.some(isBeat)));
  assert.equal(run.dropped(), 1);
  assert.ok(run.lines.every((line) => line.length < 1000));
  run.child.stop();
  await run.end;
});

test('all lines of a flood arrive in order', async (t) => {
  const run = await start(t, 'flood', '50000');
  await eventually(() => assert.ok(run.lines.some(isBeat)));
  const events = run.lines.filter((line) => /"data": ?\[2,/.test(line));
  assert.equal(events.length, 50_000);
  assert.ok(events.every((line, index) => JSON.parse(line).data[10] === index));
  run.child.stop();
  await run.end;
});

test('a child gets only the environment variables that it needs', () => {
  const env = childEnvironment(
    { PATH: '/bin', TOKEN: 'x', BPFTRACE_BTF: '/b', BPFTRACE_COLOR: 'always' },
    99,
  );
  assert.equal(env.TOKEN, undefined);
  assert.deepEqual([env.PATH, env.BPFTRACE_BTF, env.BPFTRACE_COLOR], ['/bin', '/b', 'never']);
  assert.equal(env.BPFTRACE_MAX_MAP_KEYS, '99');
});

for (const guarded of [true, false]) {
  test(`the child ends when the tracer is killed, ${guarded ? 'with' : 'without'} setpriv`, async (t) => {
    const path = await fakeBpftrace(t, guarded ? 'stubborn' : 'normal');
    const guard = guarded ? (await findGuard(process.env.PATH ?? '')).command : [];
    const module = new URL('../../../src/bpftrace/process/child.ts', import.meta.url);
    const script = join(await temporaryFolder(t), 'parent.mts');
    await writeFile(
      script,
      `import { BpftraceChild } from ${JSON.stringify(module.href)};
       const child = new BpftraceChild({
         launch: { path: ${JSON.stringify(path)}, guard: ${JSON.stringify(guard)}, env: process.env },
         program: '', timing: ${JSON.stringify(TIMING)}, onLine: () => {},
         onReady: () => console.log(child.pid),
       });
       await child.run();`,
    );
    const parent = spawn(process.execPath, ['--import', 'tsx', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const pid = await firstNumber(parent);
    t.after(() => {
      if (existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGKILL');
    });
    assert.ok(existsSync(`/proc/${pid}`));
    parent.kill('SIGKILL');
    // The process that adopts orphans may reap the child late or never. A zombie counts as ended.
    await eventually(async () =>
      assert.equal(await readStat('/proc', pid), null, 'the child outlived its parent'),
    );
  });
}

for (const how of ['stops', 'is killed', 'ends before its child was found'] as const) {
  test(`a process that bpftrace forked is ended when bpftrace ${how}`, async (t) => {
    const file = join(await temporaryFolder(t), 'pid');
    const run = await start(t, 'forks', file);
    await run.ready;
    const forked = Number(readFileSync(file, 'utf8'));
    assert.notEqual(await readStat('/proc', forked), null);
    if (how === 'stops') run.child.stop();
    else process.kill(run.child.pid ?? 0, how === 'is killed' ? 'SIGKILL' : 'SIGTERM');
    const end = await run.end;
    assert.equal(end.reason, how === 'stops' ? 'stopped' : how === 'is killed' ? 'killed' : 'crashed');
    await eventually(async () =>
      assert.equal(await readStat('/proc', forked), null, 'the forked process still runs'),
    );
  });
}

function firstNumber(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => resolve(Number(chunk.toString())));
    child.on('close', () => reject(new Error('the parent ended early')));
  });
}
