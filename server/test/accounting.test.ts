import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { createLiveSource } from '../src/collector/collector.ts';
import { LossCounts } from '../src/collector/loss-counts.ts';
import { loadConfig } from '../src/config/load.ts';
import { Daemon } from '../src/daemon.ts';
import { StreamHub } from '../src/http/sse/hub.ts';
import { systemClock } from '../src/lib/clock.ts';
import { Catalogue } from '../src/metrics/catalogue.ts';
import { renderMetrics } from '../src/metrics/exposition.ts';
import { PROCESS_LIMIT } from '../src/model/processes.ts';
import { isCountLoss } from '../src/protocol/codes.ts';
import { Recorder } from '../src/protocol/recorder.ts';
import type { LineSource } from '../src/protocol/source.ts';
import { streamLine } from '../src/protocol/stream-line.ts';
import type { CollectorLine } from '../src/protocol/wire.ts';
import { EventLog } from '../src/sinks/event-log.ts';
import type { TracerModel } from '../src/tracer/tracer.ts';
import { testFragments } from './bpftrace/test-fragments.ts';
import { fakeHost } from './collector/fake-host.ts';
import { eventually } from './fixtures/eventually.ts';
import { fakeBpftrace, temporaryFolder } from './fixtures/fake-bpftrace/fake-bpftrace.ts';
import { feed } from './fixtures/feed.ts';
import {
  collectorLine,
  counterLine,
  counterLines,
  DEVICE,
  exported,
  HEADER,
  heartbeat,
  readEnd,
  ready,
  released,
  starting,
} from './fixtures/stream-lines.ts';
import { releaseEvent } from './http/build.ts';

/** Each test makes one hop of docs/accounting.md lose something, and checks that the metric of that hop counts it. */

const TRACING = [HEADER, starting(1_000_000, 1), ready(1_100_000)];

async function sample(model: TracerModel, series: string): Promise<number | undefined> {
  const text = await renderMetrics(new Catalogue({ model, processMetrics: false }), 'text');
  return sampleOf(text, series);
}

function sampleOf(text: string, series: string): number | undefined {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`vfio_dmabuf_${series} `));
  return line === undefined ? undefined : Number(line.split(' ').at(-1));
}

function lost(stage: string): string {
  return `${isCountLoss(stage) ? 'counts' : 'events'}_lost_total{stage="${stage}"}`;
}

/** Runs a live collector with a fake bpftrace in this mode until `done` is true, and returns its model. */
async function collected(
  t: TestContext,
  mode: string,
  done: (model: TracerModel) => boolean,
): Promise<TracerModel> {
  const host = await fakeHost(t);
  const source = createLiveSource({
    fragments: testFragments(),
    bpftrace: await fakeBpftrace(t, mode),
    mapKeys: 64,
    tracer: '1.2.3',
    logger: { info: () => {}, warn: () => {} },
    procRoot: host.procRoot,
    sysRoot: host.sysRoot,
    uid: 0,
    clock: systemClock,
    timing: { tickMs: 20, restartMs: 50 },
  });
  const { model, more } = feed([]);
  const stop = new AbortController();
  const running = source.run(({ raw }) => void more(raw), stop.signal);
  try {
    await eventually(() => assert.ok(done(model)));
  } finally {
    stop.abort();
    await running;
  }
  return model;
}

/** A daemon whose live source emits these lines and then runs until it is stopped. */
async function daemonOf(t: TestContext, lines: readonly string[], keep: number) {
  const source: LineSource = {
    kind: 'live',
    name: 'test',
    run: async (onLine, signal) => {
      for (const line of lines) onLine(streamLine(line));
      if (!signal.aborted) await once(signal, 'abort');
    },
  };
  const flags = [
    { key: 'web.listen-address', raw: ['127.0.0.1:0'], where: 'test' },
    { key: 'events.keep', raw: String(keep), where: 'test' },
  ] as const;
  const daemon = new Daemon({
    config: loadConfig({ environment: {}, flags, file: undefined }),
    source,
    version: '1.2.3',
    logger: pino({ level: 'silent' }),
    clock: systemClock,
  });
  t.after(() => daemon.stop());
  await daemon.start();
  const metrics = async () => (await daemon.app.inject('/metrics')).body;
  return { daemon, metrics };
}

test('probe runs that the kernel skipped are counted as lost', async () => {
  const lines: CollectorLine[] = [];
  const watch = new LossCounts({ emit: (line) => lines.push(line), onEventsLost: () => {} });
  watch.probesMissed(3);
  watch.report(2_000_000);
  const { model } = feed([...TRACING, ...lines.map((line) => JSON.stringify(line))]);
  assert.equal(await sample(model, lost('probe_missed')), 3);
});

test('calls whose return was missed are counted', async () => {
  const { model } = feed([...TRACING, counterLine('missed', '0', 2)]);
  assert.equal(await sample(model, 'missed_returns_total'), 2);
  assert.equal(model.status().missed_returns, 2);
});

function changed(t: number, more: { blind: string[]; blind_since: number }): string {
  const child = JSON.parse(starting(t, 1)).data;
  return collectorLine('child', { t, generation: 1, state: 'changed', probes: child.probes, ...more });
}

test('blind time of a probe is counted from the load of its module until a program traces it', async () => {
  const { model, more } = feed(TRACING);
  assert.equal(await sample(model, 'probe_blind_seconds_total{probe="iommufd_map"}'), 0);
  more(changed(6_000_000, { blind: ['iommufd_map'], blind_since: 2_000_000 }), heartbeat(9_000_000, 0));
  assert.equal(await sample(model, 'probe_blind_seconds_total{probe="iommufd_map"}'), 7);
  assert.equal(await sample(model, 'probe_blind_seconds_total{probe="export"}'), 0);
});

test('a full kernel map is counted as a lost count, other helper errors are not', async () => {
  const full = '{"type": "helper_error", "msg": "", "helper": "map_update_elem", "retcode": -7}';
  const second = full.replace('-7', '-17');
  const { model } = feed([...TRACING, full, full, second]);
  assert.equal(await sample(model, lost('map_full')), 2);
  assert.equal(await sample(model, 'helper_errors_total'), 3);
});

test('an event that is missing at two heartbeats is counted as lost in the kernel ring', async () => {
  const { model, more } = feed([...TRACING, released(1, 5), heartbeat(2_000_000, 3)]);
  assert.equal(await sample(model, 'events_unaccounted'), 2, 'they may still arrive');
  more(heartbeat(3_000_000, 3));
  assert.equal(await sample(model, lost('kernel_ring')), 2);
  assert.equal(await sample(model, 'events_unaccounted'), 0);
});

test('a loss that bpftrace reports is counted', async () => {
  const { model } = feed([...TRACING, '{"type": "lost_events", "data": {"events": 12}}']);
  assert.equal(await sample(model, 'loss_reports_total'), 1);
});

test('a missing line of a counter read is counted, and the next read corrects the counter', async () => {
  const [one = '', two = ''] = counterLines('exports', { [`${DEVICE},1`]: 1, [`${DEVICE + 1},1`]: 1 });
  const { model, more } = feed([...TRACING, one, readEnd(2_000_000, 2)]);
  assert.equal(await sample(model, 'map_lines_lost_total'), 0, 'it may still arrive');
  more(one, two, readEnd(3_000_000, 4));
  assert.equal(await sample(model, 'map_lines_lost_total'), 1);
  assert.equal(await sample(model, 'exports_total{device="0000:41:00.1",privacy="shared"}'), 1);
});

test('a line that a killed child left incomplete is counted as lost in the splitter', async (t) => {
  const model = await collected(t, 'partial', ({ accounting }) => accounting.losses.splitter > 0);
  assert.ok(((await sample(model, lost('splitter'))) ?? 0) >= 1);
});

test('a line that is longer than the limit is counted as lost in the splitter', async (t) => {
  const model = await collected(t, 'long-line', ({ accounting }) => accounting.losses.splitter > 0);
  assert.equal(await sample(model, lost('splitter')), 1);
});

test('lines that the collector dropped from its queue are counted', async () => {
  const { model } = feed([...TRACING, collectorLine('loss', { t: 2_000_000, stage: 'queue', count: 4 })]);
  assert.equal(await sample(model, lost('queue')), 4);
});

test('a line that cannot be decoded is counted by its reason', async () => {
  const { model } = feed([...TRACING, '{"type": "val', '{"type": "value", "data": [99]}']);
  assert.equal(await sample(model, 'decode_errors_total{reason="not_json"}'), 1);
  assert.equal(await sample(model, 'decode_errors_total{reason="unknown_tag"}'), 1);
});

test('a line of unknown type is counted as an unknown record', async () => {
  const { model } = feed([...TRACING, 'a warning in plain text', '{"type": "hist", "data": {}}']);
  assert.equal(await sample(model, 'unknown_records_total'), 2);
});

test('blind time is counted from the last heartbeat of a child that exited', async () => {
  const exit = collectorLine('child', {
    t: 3_000_000,
    generation: 1,
    state: 'exited',
    reason: 'crashed',
    message: '',
  });
  const { model } = feed([
    ...TRACING,
    heartbeat(2_000_000, 0),
    exit,
    collectorLine('tick', { t: 5_000_000 }),
  ]);
  assert.equal(await sample(model, 'blind_seconds_total'), 3);
});

test('blind time starts when the probes of the child were lost, not at its exit', async () => {
  const exit = { t: 8_000_000, generation: 1, state: 'exited', reason: 'stopped', message: '' } as const;
  const { model } = feed([
    ...TRACING,
    ...[2, 4, 7].map((second) => heartbeat(second * 1_000_000, 0)),
    collectorLine('child', { ...exit, blind_since: 3_000_000 }),
    collectorLine('tick', { t: 9_000_000 }),
  ]);
  assert.equal(await sample(model, 'blind_seconds_total'), 6);
});

test('each folded label set of a counter and of a gauge is counted once', async () => {
  const keys = Array.from({ length: 15 }, (_, index) => DEVICE + index);
  const counters = Object.fromEntries(keys.map((device) => [`${device},1`, 1]));
  const events = keys.map((device, inode) => exported({ t: 2_000_000, inode: inode + 1, device }));
  const { model } = feed([...TRACING, ...counterLines('exports', counters), ...events], { seriesLimit: 10 });
  assert.equal(await sample(model, 'series_folded_total{metric="vfio_dmabuf_exports_total"}'), 5);
  assert.equal(await sample(model, 'series_folded{metric="vfio_dmabuf_buffers"}'), 5);
  assert.equal(await sample(model, 'buffers{device="other",privacy="other",state="other"}'), 5);
});

test('a folded histogram counts as one label set, whatever the number of its buckets', async () => {
  const buckets = Array.from({ length: 12 }, (_, name) => `2,${name + 97},0`);
  const lines = buckets.flatMap((key) =>
    [0, 1, 2].map((bucket) => counterLine('import_bucket', `${key},${bucket}`, 1)),
  );
  const { model } = feed([...TRACING, ...lines], { seriesLimit: 40 });
  assert.equal(await sample(model, 'series_folded_total{metric="vfio_dmabuf_import_duration_seconds"}'), 2);
});

test('processes that were evicted from the table are counted', async () => {
  const lines = Array.from({ length: PROCESS_LIMIT + 3 }, (_, pid) =>
    JSON.stringify({
      type: 'process',
      data: { t: 2_000_000, pid: pid + 1, start_ticks: 1, comm: 'qemu', vmm: 'qemu', name: null, uuid: null },
    }),
  );
  const { model } = feed([...TRACING, ...lines]);
  assert.equal(await sample(model, 'facts_evicted_total{kind="process"}'), 3);
});

test('an event that the event log evicted is counted', async (t) => {
  const { metrics } = await daemonOf(t, [...TRACING, released(1, 1), released(2, 2), released(3, 3)], 2);
  assert.equal(sampleOf(await metrics(), 'events_dropped_total{stage="event_log"}'), 1);
});

test('an event for which a subscriber throws is counted as dropped', async (t) => {
  const append = t.mock.method(EventLog.prototype, 'append', () => {
    throw new Error('no');
  });
  const { metrics } = await daemonOf(t, [...TRACING, released(1, 1)], 2);
  assert.equal(append.mock.callCount(), 1);
  assert.equal(sampleOf(await metrics(), 'events_dropped_total{stage="subscriber"}'), 1);
});

/** A server that streams the log through a hub, and a connected client that does not read. */
async function hubOf(t: TestContext, options: { maxClients?: number; heartbeatMs?: number }) {
  const log = new EventLog({ keep: 100, id: 'log1' });
  const hub = new StreamHub({ log, ...options });
  const server = createServer((_request, response) => {
    hub.attach(response, { matches: () => true, position: { log: 'log1', seq: 0 } });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const client = connect(port, '127.0.0.1');
  client.on('error', () => {});
  client.pause();
  client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  t.after(() => {
    client.destroy();
    hub.close();
    server.closeAllConnections();
    server.close();
  });
  await eventually(() => assert.ok(hub.clients > 0), 5);
  return { log, hub };
}

/** Appends far more events than the socket buffers hold, until the condition is true. */
async function flood(log: EventLog, until: () => boolean): Promise<void> {
  await eventually(() => {
    if (until()) return;
    for (let more = 0; more < 5000; more++)
      log.append({ ...releaseEvent(log.newest + 1), comm: 'c'.repeat(200) });
    assert.fail('more events are needed');
  }, 1);
}

test('an event that the log evicts before a slow stream client has it is counted', async (t) => {
  const { log, hub } = await hubOf(t, {});
  await flood(log, () => hub.dropped > 0);
  assert.ok(hub.dropped > 0);
});

test('a stream client that does not read is disconnected and counted', async (t) => {
  const { log, hub } = await hubOf(t, { heartbeatMs: 10 });
  await flood(log, () => hub.stalled > 0);
  assert.equal(hub.stalled, 1);
});

test('a stream client above the limit gets a 503 and is counted', async (t) => {
  const { daemon, metrics } = await daemonOf(t, TRACING, 2);
  Object.defineProperty(StreamHub.prototype, 'full', { configurable: true, get: () => true });
  t.after(() => {
    Object.defineProperty(StreamHub.prototype, 'full', original);
  });
  assert.equal((await daemon.app.inject('/api/v1/stream')).statusCode, 503);
  assert.equal(sampleOf(await metrics(), 'stream_clients_rejected_total{reason="full"}'), 1);
});
const original = Object.getOwnPropertyDescriptor(StreamHub.prototype, 'full') as PropertyDescriptor;

test('a line that the recorder cannot buffer is counted', async (t) => {
  const recorder = new Recorder({ path: join(await temporaryFolder(t), 'x.ndjson'), maxPendingBytes: 10 });
  await recorder.start();
  recorder.write('longer than ten bytes');
  await recorder.stop();
  const report = JSON.stringify({ type: 'recording', data: recorder.state });
  const { metrics } = await daemonOf(t, [...TRACING, report], 2);
  assert.equal(sampleOf(await metrics(), 'recording_lines_dropped_total'), 1);
});
