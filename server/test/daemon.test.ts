import assert from 'node:assert/strict';
import { get } from 'node:http';
import { hostname } from 'node:os';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { loadConfig } from '../src/config/load.ts';
import { Daemon } from '../src/daemon.ts';
import type { Clock } from '../src/support/clock.ts';
import { TracerError } from '../src/support/errors.ts';
import { eventually } from './fixtures/eventually.ts';
import { FakeSource } from './fixtures/fake-source.ts';
import {
  collectorLine,
  counterRead,
  exported,
  HEADER,
  heartbeat,
  ready,
  starting,
} from './fixtures/stream-lines.ts';

/** 2023-11-14, at the boot that the fixture's header tells of; moved by hand. */
class FakeClock implements Clock {
  us = 3_000_000;
  step = 0;
  bootUs = () => this.us;
  wallMs = () => 1_700_000_000_000 + this.us / 1000 + this.step;
  sleep = async () => {};
}

const TRACING = [
  HEADER,
  starting(1_000_000, 1),
  ready(1_100_000),
  heartbeat(2_500_000, 0),
  ...counterRead(2_500_000, { releases: 0 }),
];
const UNAVAILABLE = collectorLine('child', {
  t: 1_000_000,
  generation: 0,
  state: 'unavailable',
  reason: 'no_btf',
  message: 'this kernel has no BTF',
  remedy: 'boot a kernel built with CONFIG_DEBUG_INFO_BTF=y',
  dialect: 'none',
  probes: [],
});

/** The status of a request that names this host. */
function statusFor(daemon: Daemon, host: string): Promise<number> {
  const { port } = new URL(daemon.server.urls[0] ?? '');
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path: '/api/v1/status', headers: { host }, agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    }).on('error', reject);
  });
}

interface Line {
  level: number;
  msg: string;
  remedy?: string;
}

function create(
  t: TestContext,
  options: {
    strict?: boolean;
    stopMs?: number;
    recorder?: { dropped: number };
    address?: string;
    allowedHosts?: string[];
    killAfter?: (ms: number) => () => void;
  } = {},
) {
  const source = new FakeSource();
  const clock = new FakeClock();
  const lines: Line[] = [];
  const logger = pino({ level: 'info' }, { write: (line) => lines.push(JSON.parse(line)) });
  const flags = [
    { key: 'web.listen-address' as const, raw: [options.address ?? '127.0.0.1:0'], where: 'test' },
    { key: 'web.allowed-hosts' as const, raw: options.allowedHosts ?? [], where: 'test' },
    { key: 'strict' as const, raw: String(options.strict ?? false), where: 'test' },
  ];
  const config = loadConfig({ environment: {}, flags, file: undefined });
  const daemon = new Daemon({
    config,
    source,
    clock,
    logger,
    version: '1.2.3',
    ...(options.stopMs === undefined ? {} : { stopMs: options.stopMs }),
    ...(options.recorder === undefined ? {} : { recorder: options.recorder }),
    ...(options.killAfter === undefined ? {} : { killAfter: options.killAfter }),
  });
  t.after(() => daemon.stop());
  return { daemon, source, clock, lines, ask: (path: string) => fetch(`${daemon.server.urls[0]}${path}`) };
}

test('it is not ready before the counters are read, ready while they are, and not when they grow old', async (t) => {
  const { daemon, source, clock, ask } = create(t);
  await daemon.start();
  assert.equal((await ask('/-/ready')).status, 503);
  for (const line of TRACING) source.say(line);
  assert.deepEqual(daemon.readiness(), { ready: true });
  clock.step = 3_600_000;
  assert.deepEqual(daemon.readiness(), { ready: true }, 'a step of the wall clock changes nothing');
  clock.us += 11_000_000;
  const late = await ask('/-/ready');
  assert.equal(late.status, 503);
  assert.match(await late.text(), /^not ready: the counters were last read 11\.5 s ago/);
  assert.equal((await ask('/-/healthy')).status, 200);
});

test('a step of the wall clock, before the header, after it or in the stream, makes no counter look old', async (t) => {
  const { daemon, source, clock, ask } = create(t);
  await daemon.start();
  // NTP steps both before the collector has asked the host: its header has the new time.
  clock.step = 86_400_000;
  const epoch = JSON.parse(HEADER).data.boot_epoch_us + 86_400_000_000;
  source.say(HEADER.replace(/"boot_epoch_us": ?\d+/, `"boot_epoch_us":${epoch}`));
  for (const line of TRACING.slice(1)) source.say(line);
  assert.deepEqual(daemon.readiness(), { ready: true });
  const timestamp = async () =>
    Number(
      /^vfio_dmabuf_last_map_read_timestamp_seconds (\S+)$/m.exec(await (await ask('/metrics')).text())?.[1],
    );
  assert.equal(await timestamp(), epoch / 1e6 + 2.5);
  clock.step = 0;
  assert.deepEqual(daemon.readiness(), { ready: true }, 'before the collector has noticed');
  source.say(collectorLine('clock', { t: 3_000_000, boot_epoch_us: epoch - 86_400_000_000 }));
  assert.deepEqual(daemon.readiness(), { ready: true }, 'and after');
  assert.equal(await timestamp(), epoch / 1e6 - 86_400 + 2.5);
  clock.us += 11_000_000;
  assert.match(await (await ask('/-/ready')).text(), /^not ready: the counters were last read 11\.5 s ago/);
});

test('the age of the counters of another host is right though it has booted at another time', async (t) => {
  const { daemon, source, clock } = create(t);
  // Ours has run for 1000 s longer; both wall clocks agree.
  clock.us += 1_000_000_000;
  clock.step = -1_000_000;
  await daemon.start();
  for (const line of TRACING) source.say(line);
  assert.deepEqual(daemon.readiness(), { ready: true });
  clock.us += 11_000_000;
  const late = daemon.readiness();
  assert.match(late.ready ? '' : late.why, /last read 11\.5 s ago/);
});

test('a failed read of the host is counted for its source and logged, not each time', async (t) => {
  const { daemon, source, lines, clock, ask } = create(t);
  await daemon.start();
  for (const line of TRACING) source.say(line);
  const fail = (count: number) =>
    source.say(
      collectorLine('host_error', {
        t: 3_000_000,
        source: 'process',
        count,
        message: 'EMFILE: /proc/1/stat',
      }),
    );
  fail(3);
  fail(5);
  const logged = () => lines.filter(({ msg }) => msg.endsWith('EMFILE: /proc/1/stat'));
  assert.equal(logged().length, 1);
  assert.match(
    await (await ask('/metrics')).text(),
    /^vfio_dmabuf_host_read_errors_total\{source="process"\} 5$/m,
  );
  clock.us += 61_000_000;
  fail(6);
  assert.equal(logged().length, 2);
  // Another collector counts from zero.
  source.say(HEADER);
  fail(2);
  assert.match(
    await (await ask('/metrics')).text(),
    /^vfio_dmabuf_host_read_errors_total\{source="process"\} 8$/m,
  );
});

test('a child that did not start is logged with its reason and its fix, which the status has too', async (t) => {
  const { daemon, source, lines, ask } = create(t);
  await daemon.start();
  source.say(HEADER);
  source.say(starting(1_000_000, 1));
  const remedy = 'give it CAP_PERFMON';
  const message = 'exited with 1: EACCES: cannot attach kprobe';
  source.say(
    collectorLine('child', {
      t: 2_000_000,
      generation: 1,
      state: 'exited',
      reason: 'permission',
      message,
      remedy,
    }),
  );
  assert.ok(lines.some((line) => line.msg.includes('EACCES') && line.remedy === remedy));
  const status = (await (await ask('/api/v1/status')).json()) as { problem: unknown };
  assert.deepEqual(status.problem, { reason: 'permission', message, remedy });
});

test('a host that cannot be traced is said once, with its remedy, and is served as up 0', async (t) => {
  const { daemon, source, lines, ask } = create(t);
  await daemon.start();
  const stop = new AbortController();
  const stopped = daemon.untilStopped(stop.signal);
  source.say(HEADER);
  source.say(UNAVAILABLE);
  source.say(UNAVAILABLE);
  const told = lines.filter((line) => line.msg.includes('no BTF'));
  assert.equal(told.length, 1);
  assert.match(told[0]?.remedy ?? '', /CONFIG_DEBUG_INFO_BTF/);
  assert.match(await (await ask('/-/ready')).text(), /this host cannot be traced: this kernel has no BTF/);
  assert.match(await (await ask('/metrics')).text(), /^vfio_dmabuf_up 0$/m);
  stop.abort();
  await stopped;
});

test('with --strict a host that cannot be traced ends it', async (t) => {
  const { daemon, source } = create(t, { strict: true });
  await daemon.start();
  const stopped = daemon.untilStopped(new AbortController().signal);
  source.say(HEADER);
  source.say(UNAVAILABLE);
  await assert.rejects(stopped, (error) => {
    assert.ok(error instanceof TracerError);
    assert.equal(error.code, 'host_untraceable');
    assert.match(error.remedy ?? '', /CONFIG_DEBUG_INFO_BTF/);
    return true;
  });
});

test('with --strict it ends also where that is known before anyone waits', async (t) => {
  const { daemon, source } = create(t, { strict: true });
  await daemon.start();
  source.say(HEADER);
  source.say(UNAVAILABLE);
  await assert.rejects(daemon.untilStopped(new AbortController().signal), /cannot be traced/);
});

test('what the child says while it stops still reaches the streams, which then end', async (t) => {
  const { daemon, source, lines, ask } = create(t);
  await daemon.start();
  for (const line of TRACING) source.say(line);
  const stream = await ask('/api/v1/stream');
  source.lastWords = [exported({ t: 3_100_000, inode: 7 })];
  const stopping = Promise.all([daemon.stop(), daemon.stop()]);
  assert.deepEqual(daemon.readiness(), { ready: false, why: 'stopping' });
  await stopping;
  assert.equal(lines.filter((line) => line.msg === 'stopped').length, 1);
  assert.match(await stream.text(), /event: export\n/);
  await assert.rejects(ask('/-/healthy'), 'nothing listens any more');
});

test('a source that does not stop is left behind at the deadline', async (t) => {
  const { daemon, source, lines } = create(t, { stopMs: 200 });
  await daemon.start();
  source.deaf = true;
  await daemon.stop();
  assert.ok(lines.some((line) => line.msg.includes('did not stop in time')));
});

test('a request for another host is rejected and logged once a minute with what to do', async (t) => {
  const { daemon, lines, clock } = create(t, { allowedHosts: ['tracer.example'] });
  await daemon.start();
  assert.equal(await statusFor(daemon, 'tracer.example:10043'), 200);
  assert.equal(await statusFor(daemon, 'evil.example'), 421);
  assert.equal(await statusFor(daemon, 'evil.example'), 421);
  const logged = () => lines.filter(({ msg }) => msg === 'rejected a request for another host');
  assert.equal(logged().length, 1);
  assert.match(logged()[0]?.remedy ?? '', /web\.allowed-hosts/);
  clock.us += 61_000_000;
  assert.equal(await statusFor(daemon, 'evil.example'), 421);
  assert.equal(logged().length, 2);
});

test('the names of this host are allowed where others can connect, and only there', async (t) => {
  const wide = create(t, { address: '0.0.0.0:0' });
  await wide.daemon.start();
  await eventually(async () => assert.equal(await statusFor(wide.daemon, hostname()), 200));
  assert.equal(await statusFor(wide.daemon, 'evil.example'), 421);
  const local = create(t, { address: '127.1:0' });
  await local.daemon.start();
  assert.equal(await statusFor(local.daemon, '127.1'), 200);
  assert.equal(await statusFor(local.daemon, 'not-a-name-of-this-host'), 421);
});

test('a stop has a limit that does not need the event loop, which is called off when all has ended', async (t) => {
  const limits: (number | string)[] = [];
  const killAfter = (ms: number) => {
    limits.push(ms);
    return () => limits.push('called off');
  };
  const { daemon } = create(t, { stopMs: 200, killAfter });
  await daemon.start();
  const stopping = daemon.stop();
  assert.deepEqual(limits, [2200]);
  await stopping;
  assert.deepEqual(limits, [2200, 'called off']);
});

test('what a recording lacks is told where there is one', async (t) => {
  const name = 'vfio_dmabuf_recording_lines_dropped_total';
  const without = create(t);
  await without.daemon.start();
  assert.ok(!(await (await without.ask('/metrics')).text()).includes(name));
  const recorder: { dropped: number; error: Error | null } = { dropped: 0, error: null };
  const { daemon, ask } = create(t, { recorder });
  await daemon.start();
  assert.match(await (await ask('/metrics')).text(), new RegExp(`^${name} 0$`, 'm'));
  recorder.dropped = 3;
  assert.match(await (await ask('/metrics')).text(), new RegExp(`^${name} 3$`, 'm'));
  assert.match(await (await ask('/metrics')).text(), /^vfio_dmabuf_recording_up 1$/m);
  recorder.error = new Error('ENOSPC');
  assert.match(await (await ask('/metrics')).text(), /^vfio_dmabuf_recording_up 0$/m);
});

test('a source that breaks, or ends without being asked, ends the daemon', async (t) => {
  const broken = create(t);
  await broken.daemon.start();
  broken.source.fail(new TracerError('child_failed', 'gone'));
  await assert.rejects(broken.daemon.untilStopped(new AbortController().signal), /gone/);
});

test('the metrics tell what the log and the streams let go, from the first scrape on', async (t) => {
  const { daemon, ask } = create(t);
  await daemon.start();
  const text = await (await ask('/metrics')).text();
  assert.match(text, /^vfio_dmabuf_events_dropped_total\{stage="event_log"\} 0$/m);
  assert.match(text, /^vfio_dmabuf_events_dropped_total\{stage="sse"\} 0$/m);
  assert.match(text, /^vfio_dmabuf_stream_clients 0$/m);
});
