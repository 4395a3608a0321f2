import assert from 'node:assert/strict';
import { get } from 'node:http';
import { hostname } from 'node:os';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { loadConfig } from '../src/config/load.ts';
import { Daemon } from '../src/daemon.ts';
import type { Clock } from '../src/lib/clock.ts';
import { TracerError } from '../src/lib/errors.ts';
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

/** A clock that starts 3 s after the boot time of the fixture's header (2023-11-14). The test moves it. */
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

/** The HTTP status of a request with this Host header. */
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
    ...(options.killAfter === undefined ? {} : { killAfter: options.killAfter }),
  });
  t.after(() => daemon.stop());
  return { daemon, source, clock, lines, ask: (path: string) => fetch(`${daemon.server.urls[0]}${path}`) };
}

test('the daemon is ready only while the last counter read is recent', async (t) => {
  const { daemon, source, clock, ask } = create(t);
  await daemon.start();
  assert.equal((await ask('/-/ready')).status, 503);
  for (const line of TRACING) source.emit(line);
  assert.deepEqual(daemon.readiness(), { ready: true });
  clock.step = 3_600_000;
  assert.deepEqual(daemon.readiness(), { ready: true }, 'a step of the wall clock does not change readiness');
  clock.us += 11_000_000;
  const late = await ask('/-/ready');
  assert.equal(late.status, 503);
  assert.match(await late.text(), /^not ready: the counters were last read 11\.5 s ago/);
  assert.equal((await ask('/-/healthy')).status, 200);
});

test('a step of the wall clock before or after the header does not change the age of the counters', async (t) => {
  const { daemon, source, clock, ask } = create(t);
  await daemon.start();
  // NTP steps the wall clock before the collector reads it, so the header has the new boot time.
  clock.step = 86_400_000;
  const epoch = JSON.parse(HEADER).data.boot_epoch_us + 86_400_000_000;
  source.emit(HEADER.replace(/"boot_epoch_us": ?\d+/, `"boot_epoch_us":${epoch}`));
  for (const line of TRACING.slice(1)) source.emit(line);
  assert.deepEqual(daemon.readiness(), { ready: true });
  const timestamp = async () =>
    Number(
      /^vfio_dmabuf_last_map_read_timestamp_seconds (\S+)$/m.exec(await (await ask('/metrics')).text())?.[1],
    );
  assert.equal(await timestamp(), epoch / 1e6 + 2.5);
  clock.step = 0;
  assert.deepEqual(daemon.readiness(), { ready: true }, 'before the collector reports the step');
  source.emit(collectorLine('clock', { t: 3_000_000, boot_epoch_us: epoch - 86_400_000_000 }));
  assert.deepEqual(daemon.readiness(), { ready: true }, 'after the collector has reported the step');
  assert.equal(await timestamp(), epoch / 1e6 - 86_400 + 2.5);
  clock.us += 11_000_000;
  assert.match(await (await ask('/-/ready')).text(), /^not ready: the counters were last read 11\.5 s ago/);
});

test('the age of the counters is right if the stream comes from a host with another boot time', async (t) => {
  const { daemon, source, clock } = create(t);
  // This host booted 1000 s earlier. Both wall clocks agree.
  clock.us += 1_000_000_000;
  clock.step = -1_000_000;
  await daemon.start();
  for (const line of TRACING) source.emit(line);
  assert.deepEqual(daemon.readiness(), { ready: true });
  clock.us += 11_000_000;
  const late = daemon.readiness();
  assert.match(late.ready ? '' : late.why, /last read 11\.5 s ago/);
});

test('failed reads of the host are counted by source and logged at most once a minute', async (t) => {
  const { daemon, source, lines, clock, ask } = create(t);
  await daemon.start();
  for (const line of TRACING) source.emit(line);
  const fail = (count: number) =>
    source.emit(
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
  // A new header means a new collector, which counts from zero.
  source.emit(HEADER);
  fail(2);
  assert.match(
    await (await ask('/metrics')).text(),
    /^vfio_dmabuf_host_read_errors_total\{source="process"\} 8$/m,
  );
});

test('a child that did not start is logged with its remedy, and the status has its reason and remedy', async (t) => {
  const { daemon, source, lines, ask } = create(t);
  await daemon.start();
  source.emit(HEADER);
  source.emit(starting(1_000_000, 1));
  const remedy = 'give it CAP_PERFMON';
  const message = 'exited with 1: EACCES: cannot attach kprobe';
  source.emit(
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

test('a host that cannot be traced is logged once with its remedy, and vfio_dmabuf_up is 0', async (t) => {
  const { daemon, source, lines, ask } = create(t);
  await daemon.start();
  const stop = new AbortController();
  const stopped = daemon.untilStopped(stop.signal);
  source.emit(HEADER);
  source.emit(UNAVAILABLE);
  source.emit(UNAVAILABLE);
  const logged = lines.filter((line) => line.msg.includes('no BTF'));
  assert.equal(logged.length, 1);
  assert.match(logged[0]?.remedy ?? '', /CONFIG_DEBUG_INFO_BTF/);
  assert.match(await (await ask('/-/ready')).text(), /this host cannot be traced: this kernel has no BTF/);
  assert.match(await (await ask('/metrics')).text(), /^vfio_dmabuf_up 0$/m);
  stop.abort();
  await stopped;
});

test('with --strict the daemon ends if the host cannot be traced', async (t) => {
  const { daemon, source } = create(t, { strict: true });
  await daemon.start();
  const stopped = daemon.untilStopped(new AbortController().signal);
  source.emit(HEADER);
  source.emit(UNAVAILABLE);
  await assert.rejects(stopped, (error) => {
    assert.ok(error instanceof TracerError);
    assert.equal(error.code, 'host_untraceable');
    assert.match(error.remedy ?? '', /CONFIG_DEBUG_INFO_BTF/);
    return true;
  });
});

test('with --strict the daemon also ends if the host is found untraceable before untilStopped is called', async (t) => {
  const { daemon, source } = create(t, { strict: true });
  await daemon.start();
  source.emit(HEADER);
  source.emit(UNAVAILABLE);
  await assert.rejects(daemon.untilStopped(new AbortController().signal), /cannot be traced/);
});

test('events that the child emits during the stop reach the stream clients before the streams end', async (t) => {
  const { daemon, source, lines, ask } = create(t);
  await daemon.start();
  for (const line of TRACING) source.emit(line);
  const stream = await ask('/api/v1/stream');
  source.linesAfterStop = [exported({ t: 3_100_000, inode: 7 })];
  const stopping = Promise.all([daemon.stop(), daemon.stop()]);
  assert.deepEqual(daemon.readiness(), { ready: false, why: 'stopping' });
  await stopping;
  assert.equal(lines.filter((line) => line.msg === 'stopped').length, 1);
  assert.match(await stream.text(), /event: export\n/);
  await assert.rejects(ask('/-/healthy'), 'the server has closed its port');
});

test('the stop does not wait longer than its deadline for the source', async (t) => {
  const { daemon, source, lines } = create(t, { stopMs: 200 });
  await daemon.start();
  source.ignoresStop = true;
  await daemon.stop();
  assert.ok(lines.some((line) => line.msg.includes('did not stop in time')));
});

test('a request for another host gets a 421 and is logged once a minute with its remedy', async (t) => {
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

test('the names of this host are allowed only if the daemon listens beyond the loopback address', async (t) => {
  const wide = create(t, { address: '0.0.0.0:0' });
  await wide.daemon.start();
  await eventually(async () => assert.equal(await statusFor(wide.daemon, hostname()), 200));
  assert.equal(await statusFor(wide.daemon, 'evil.example'), 421);
  const local = create(t, { address: '127.1:0' });
  await local.daemon.start();
  assert.equal(await statusFor(local.daemon, '127.1'), 200);
  assert.equal(await statusFor(local.daemon, 'not-a-name-of-this-host'), 421);
});

test('a stop sets a kill timer outside the event loop and cancels it when the stop is complete', async (t) => {
  const limits: (number | string)[] = [];
  const killAfter = (ms: number) => {
    limits.push(ms);
    return () => limits.push('cancelled');
  };
  const { daemon } = create(t, { stopMs: 200, killAfter });
  await daemon.start();
  const stopping = daemon.stop();
  assert.deepEqual(limits, [2200]);
  await stopping;
  assert.deepEqual(limits, [2200, 'cancelled']);
});

test('the metrics of the recording exist only while a recording is made', async (t) => {
  const name = 'vfio_dmabuf_recording_lines_dropped_total';
  const without = create(t);
  await without.daemon.start();
  assert.ok(!(await (await without.ask('/metrics')).text()).includes(name));
  const { daemon, source, ask } = create(t);
  await daemon.start();
  const report = (up: boolean, lines_dropped: number) =>
    source.emit(JSON.stringify({ type: 'recording', data: { up, lines_dropped } }));
  report(true, 0);
  assert.match(await (await ask('/metrics')).text(), new RegExp(`^${name} 0$`, 'm'));
  assert.match(await (await ask('/metrics')).text(), /^vfio_dmabuf_recording_up 1$/m);
  report(false, 3);
  assert.match(await (await ask('/metrics')).text(), new RegExp(`^${name} 3$`, 'm'));
  assert.match(await (await ask('/metrics')).text(), /^vfio_dmabuf_recording_up 0$/m);
});

test('the daemon ends with the error of a source that fails', async (t) => {
  const broken = create(t);
  await broken.daemon.start();
  broken.source.fail(new TracerError('child_failed', 'gone'));
  await assert.rejects(broken.daemon.untilStopped(new AbortController().signal), /gone/);
});

test('the counters of dropped events exist from the first scrape on', async (t) => {
  const { daemon, ask } = create(t);
  await daemon.start();
  const text = await (await ask('/metrics')).text();
  assert.match(text, /^vfio_dmabuf_events_dropped_total\{stage="event_log"\} 0$/m);
  assert.match(text, /^vfio_dmabuf_events_dropped_total\{stage="sse"\} 0$/m);
  assert.match(text, /^vfio_dmabuf_stream_clients 0$/m);
});
