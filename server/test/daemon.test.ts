import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { loadConfig } from '../src/config/load.ts';
import { Daemon } from '../src/daemon.ts';
import type { Clock } from '../src/support/clock.ts';
import { TracerError } from '../src/support/errors.ts';
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
    killAfter?: (ms: number) => () => void;
  } = {},
) {
  const source = new FakeSource();
  const clock = new FakeClock();
  const lines: Line[] = [];
  const logger = pino({ level: 'info' }, { write: (line) => lines.push(JSON.parse(line)) });
  const flags = [
    { key: 'web.listen-address' as const, raw: ['127.0.0.1:0'], where: 'test' },
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
  const recorder = { dropped: 0 };
  const { daemon, ask } = create(t, { recorder });
  await daemon.start();
  assert.match(await (await ask('/metrics')).text(), new RegExp(`^${name} 0$`, 'm'));
  recorder.dropped = 3;
  assert.match(await (await ask('/metrics')).text(), new RegExp(`^${name} 3$`, 'm'));
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
