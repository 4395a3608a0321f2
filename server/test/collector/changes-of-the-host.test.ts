import assert from 'node:assert/strict';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { IdentityReporter } from '../../src/collector/identity-reporter.ts';
import { LineReader } from '../../src/collector/line-reader.ts';
import { LossCounts } from '../../src/collector/loss-counts.ts';
import { takeSnapshot } from '../../src/collector/snapshot.ts';
import { type SnapshotCause, SnapshotScheduler } from '../../src/collector/snapshot-scheduler.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { decodeLine } from '../../src/protocol/decode.ts';
import type { CollectorLine } from '../../src/protocol/wire.ts';
import { fakeBpftrace } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import {
  counterRead,
  eventLine,
  exported,
  heartbeat,
  ready,
  released,
  unmapped,
} from '../fixtures/stream-lines.ts';
import { type FakeHost, fakeHost } from './fake-host.ts';

function losses(): { watch: LossCounts; lines: CollectorLine[]; lost: () => number } {
  const lines: CollectorLine[] = [];
  let lost = 0;
  const watch = new LossCounts({ emit: (line) => lines.push(line), onEventsLost: () => lost++ });
  return { watch, lines, lost: () => lost };
}

test('an event that arrives after the heartbeat that counts it is not lost', () => {
  const { watch, lost } = losses();
  watch.childStarted();
  watch.heartbeat(1);
  watch.eventReceived();
  watch.heartbeat(1);
  watch.heartbeat(1);
  assert.equal(lost(), 0);
  watch.heartbeat(3);
  watch.eventReceived();
  watch.heartbeat(3);
  watch.heartbeat(3);
  assert.equal(lost(), 1);
  watch.childStarted();
  watch.heartbeat(0);
  watch.heartbeat(0);
  assert.equal(lost(), 1);
});

test('a loss under constant traffic is detected at the next heartbeat', () => {
  const { watch, lost } = losses();
  watch.childStarted();
  let emitted = 0;
  const second = (events: number, received: number): void => {
    emitted += events;
    for (let event = 0; event < received; event++) watch.eventReceived();
    watch.heartbeat(emitted);
  };
  second(1000, 998);
  second(1000, 1002);
  assert.equal(lost(), 0, 'the events were only late');
  second(1000, 900);
  second(1000, 1000);
  assert.equal(lost(), 1);
  second(1000, 1000);
  assert.equal(lost(), 1, 'the same loss is reported once');
  second(1000, 900);
  second(1000, 1000);
  assert.equal(lost(), 2);
});

test('each new missed return requests a snapshot, also after a restart of the child', () => {
  const { watch, lines, lost } = losses();
  watch.childStarted();
  for (const total of [0, 1, 1, 3]) watch.returnsMissed(total);
  assert.equal(lost(), 2);
  watch.childStarted();
  watch.returnsMissed(0);
  assert.equal(lost(), 2);
  watch.returnsMissed(1);
  assert.equal(lost(), 3);
  watch.report(1);
  assert.deepEqual(lines, [], 'the stream already has the counter');
});

test('the reader distinguishes events, heartbeats, missed returns and reported losses', () => {
  const reported: string[] = [];
  const reader = new LineReader({
    buffers: { event: () => {} },
    identities: { seeDevice: () => {}, seeImporter: () => {}, seeProcess: () => {} },
    losses: {
      eventReceived: () => reported.push('event'),
      heartbeat: (emitted) => reported.push(`heartbeat ${emitted}`),
      returnsMissed: (total) => reported.push(`missed ${total}`),
      lossReported: () => reported.push('loss'),
    },
  });
  for (const line of [
    ready(1),
    heartbeat(2, 5),
    released(3, 9),
    unmapped(3, 9, 'mlx5_core'),
    ...counterRead(4, { releases: 7, exports: { '16640,1': 3 }, missed: 2 }),
    '{"type": "value", "data": [13,18,"x",1]}',
    '{"type": "map", "data": {"@missed": 4}}',
    '{"type": "helper_error", "msg": "", "helper": "map_update_elem", "retcode": -17}',
    '{"type": "helper_error", "msg": "", "helper": "map_update_elem", "retcode": -7}',
    '{"type": "lost_events", "data": {"events": 3}}',
    '{"type": "value", "data": [2,1',
    '{"type": "value", "data": [2,1]}',
    'a warning in plain text',
  ]) {
    reader.account(decodeLine(line));
  }
  const seen = ['heartbeat 5', 'event', 'event', 'missed 2'];
  // Of a line that is cut, it is not known whether it was an event: the model does not count it either.
  assert.deepEqual(reported, [...seen, 'loss', 'loss', 'loss', 'loss', 'event', 'loss']);
});

test('an exporting process, a VM, and a process that binds to it or runs it are owners; another task is not', () => {
  const seen: string[] = [];
  const { watch } = losses();
  const reader = new LineReader({
    buffers: { event: () => {} },
    identities: {
      seeDevice: () => {},
      seeImporter: () => {},
      seeProcess: (pid, owner) => seen.push(`${pid} ${owner}`),
    },
    losses: watch,
  });
  for (const line of [
    exported({ t: 1, inode: 9, pid: 100, kvm_pid: 120 }),
    exported({ t: 1, inode: 0, pid: 101, errno: 22 }),
    eventLine('bind', { t: 1, pid: 300, inode: 9, violation: 'foreign_vm', vm_pid: 301, owner_vm_pid: 120 }),
    eventLine('import', { t: 1, pid: 400, inode: 9, stage: 'get_pfn', importer: 'kvm', importer_device: '' }),
    released(1, 9),
  ])
    reader.identify(decodeLine(line));
  assert.deepEqual(
    seen.filter((one) => !one.startsWith('0 ')),
    ['120 true', '100 true', '101 false', '301 true', '120 true', '300 true', '400 true', '100 false'],
  );
});

test('losses are cumulative over children, and reported when they have grown', () => {
  const { watch, lines, lost } = losses();
  watch.probesMissed(3);
  assert.equal(lost(), 0);
  watch.report(1);
  watch.report(2);
  assert.equal(lost(), 1, 'the snapshot is requested after the line, so it is newer than the loss');
  watch.childStarted();
  watch.probesMissed(0);
  watch.probesMissed(2);
  watch.lineDropped('splitter');
  watch.report(3);
  assert.deepEqual(
    lines.map((line) => line.data),
    [
      { t: 1, stage: 'probe_missed', count: 3 },
      { t: 3, stage: 'probe_missed', count: 5 },
      { t: 3, stage: 'splitter', count: 1 },
    ],
  );
});

test('pending requests become one snapshot with the most important cause, and snapshots after a loss are spaced out', async (t) => {
  const causes: SnapshotCause[] = [];
  let release = (): void => {};
  const scheduler = new SnapshotScheduler({
    clock: systemClock,
    spacingMs: { start: 0, gap: 0, loss: 60_000, owner_exit: 0 },
    take: async (cause) => {
      causes.push(cause);
      await new Promise<void>((resolve) => {
        release = resolve;
      });
    },
  });
  const controller = new AbortController();
  scheduler.request('loss');
  scheduler.request('start');
  const run = scheduler.run(controller.signal);
  t.after(async () => {
    controller.abort();
    release();
    await run;
  });
  const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(causes, ['start']);
  scheduler.request('loss');
  release();
  await pause();
  assert.deepEqual(causes, ['start', 'loss']);
  release();
  await pause();
  scheduler.request('loss');
  await pause();
  assert.deepEqual(causes, ['start', 'loss']);
  scheduler.request('owner_exit');
  await pause();
  assert.deepEqual(causes, ['start', 'loss', 'owner_exit']);
});

interface Identities {
  host: FakeHost;
  watch: IdentityReporter;
  lines: CollectorLine[];
  ends: () => number;
}

async function identities(t: TestContext, limit?: number): Promise<Identities> {
  const host = await fakeHost(t);
  const lines: CollectorLine[] = [];
  let ends = 0;
  const watch = new IdentityReporter({
    procRoot: host.procRoot,
    sysRoot: host.sysRoot,
    bootUs: () => 1,
    emit: (line) => lines.push(line),
    onOwnerExit: () => ends++,
    ...(limit === undefined ? {} : { limit }),
  });
  return { host, watch, lines, ends: () => ends };
}

test('a process is reported once, and its exit only if it is an owner', async (t) => {
  const { host, watch, lines, ends } = await identities(t);
  await host.addProcess(1, 10);
  await host.addProcess(2, 20);
  for (const pid of [1, 2, 1, 0, -1]) watch.seeProcess(pid, pid === 2, 1_000_000);
  await watch.settled();
  await watch.poll();
  assert.deepEqual(
    lines.map((line) => line.type),
    ['process', 'process'],
  );
  await rm(join(host.procRoot, '1'), { recursive: true });
  await rm(join(host.procRoot, '2'), { recursive: true });
  await watch.poll();
  await watch.poll();
  assert.deepEqual(lines.slice(2), [{ type: 'exit', data: { t: 1_000_000, pid: 2, start_ticks: 20 } }]);
  assert.equal(ends(), 1);
});

test('a process that reuses a number is reported as another process', async (t) => {
  const { host, watch, lines, ends } = await identities(t);
  await host.addProcess(1, 10);
  watch.seeProcess(1, true, 1_000_000);
  await watch.settled();
  await host.addProcess(1, 11);
  await watch.poll();
  watch.seeProcess(1, false, 1_000_000);
  await watch.settled();
  assert.deepEqual(
    lines.map((line) => line.type),
    ['process', 'exit', 'process'],
  );
  assert.equal(ends(), 1);
});

test('the exit of an owner that had already ended is reported once, however often events name it', async (t) => {
  const { watch, lines, ends } = await identities(t);
  for (let time = 0; time < 3; time++) {
    watch.seeProcess(9, true, 1_000_000);
    await watch.settled();
    await watch.poll();
  }
  assert.deepEqual(
    lines.map((line) => line.type),
    ['exit'],
  );
  assert.equal(ends(), 1);
});

test('the number of known processes is limited, and owners are evicted last', async (t) => {
  const { host, watch, lines } = await identities(t, 2);
  for (const pid of [1, 2, 3]) await host.addProcess(pid, pid);
  watch.seeProcess(1, true, 1_000_000);
  watch.seeProcess(2, false, 1_000_000);
  watch.seeProcess(3, false, 1_000_000);
  await watch.settled();
  watch.seeProcess(1, true, 1_000_000);
  watch.seeProcess(2, false, 1_000_000);
  await watch.settled();
  assert.deepEqual(lines.map((line) => (line.type === 'process' ? line.data.pid : 0)).sort(), [1, 2, 2, 3]);
});

const TIMING = { readyMs: 20_000, silenceMs: 20_000, stopMs: 500 };

async function snapshotOf(
  t: TestContext,
  host: FakeHost,
  oneshot: { program: string } | { reason: string },
  mode = 'normal',
): ReturnType<typeof takeSnapshot> {
  return takeSnapshot({
    launch: {
      path: await fakeBpftrace(t, mode, mode === 'fail' ? 'syntax-0.23' : ''),
      guard: [],
      env: { PATH: process.env.PATH },
    },
    oneshot,
    timing: TIMING,
    procRoot: host.procRoot,
    bootUs: () => 5,
    signal: new AbortController().signal,
  });
}

async function addHolder(host: FakeHost, pid: number, inode: number): Promise<void> {
  const folder = join(host.procRoot, String(pid));
  await mkdir(join(folder, 'fd'), { recursive: true });
  await mkdir(join(folder, 'fdinfo'), { recursive: true });
  await symlink('/dmabuf:', join(folder, 'fd', '3'));
  await writeFile(join(folder, 'fdinfo', '3'), `ino:\t${inode}\nsize:\t4096\nexp_name:\tvfio_pci_core\n`);
}

test('a snapshot joins the buffers that the kernel lists with their holders', async (t) => {
  const host = await fakeHost(t);
  await host.addProcess(50, 1);
  await addHolder(host, 50, 7);
  await host.addProcess(51, 1);
  await addHolder(host, 51, 8);
  const snapshot = await snapshotOf(t, host, { program: 'iter:dmabuf' });
  assert.ok(snapshot.complete && snapshot.t_begin > 5 && snapshot.t_end > snapshot.t_begin);
  assert.deepEqual(
    snapshot.buffers.map(({ inode, holders }) => ({ inode, holders })),
    [{ inode: 7, holders: [{ pid: 50, comm: 'qemu', fds: 1 }] }],
  );
});

test('a snapshot without buffers has the begin of the walk as its begin', async (t) => {
  const host = await fakeHost(t);
  await host.addProcess(50, 1);
  const snapshot = await snapshotOf(t, host, { program: 'iter:dmabuf' }, 'no-buffers');
  assert.deepEqual([snapshot.complete, snapshot.buffers], [true, []]);
  assert.ok(snapshot.t_end - snapshot.t_begin >= 10_000);
});

test('without the list of the kernel, a snapshot has only buffers with a holder and is incomplete', async (t) => {
  const host = await fakeHost(t);
  await host.addProcess(50, 1);
  await addHolder(host, 50, 9);
  const snapshot = await snapshotOf(t, host, { reason: 'no iterator' });
  assert.equal(snapshot.complete, false);
  assert.match(snapshot.errors[0] ?? '', /no iterator/);
  assert.deepEqual(
    snapshot.buffers.map(({ inode, bytes }) => [inode, bytes]),
    [[9, 4096]],
  );
});

test('if the snapshot program fails, the snapshot is incomplete', async (t) => {
  const host = await fakeHost(t);
  const snapshot = await snapshotOf(t, host, { program: 'BEGIN' }, 'fail');
  assert.equal(snapshot.complete, false);
  assert.match(snapshot.errors.join(), /did not complete: exited with 1: stdin:1:9-17: ERROR: syntax error/);
});
