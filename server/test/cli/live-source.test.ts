import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { pino } from 'pino';
import { wantedBy } from '../../src/bpftrace/compiler/compose.ts';
import { loadFragments } from '../../src/bpftrace/compiler/fragment.ts';
import type { CommandContext } from '../../src/cli/command.ts';
import { liveSource } from '../../src/cli/live-source.ts';
import { record } from '../../src/cli/record.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/schema.ts';
import type { Status } from '../../src/contract/status.ts';
import { Daemon } from '../../src/daemon.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { probesDirectory } from '../../src/lib/probes-directory.ts';
import { Recorder } from '../../src/protocol/recorder.ts';
import { RecordingSource } from '../../src/protocol/recording.ts';
import { fakeHost } from '../collector/fake-host.ts';
import { eventually } from '../fixtures/eventually.ts';
import { fakeBpftrace, temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { tee } from '../fixtures/tee.ts';
import { metricsOf } from '../protocol/metrics-of.ts';

/** The configuration of a fake host with a fake bpftrace, so that the commands run on any machine. */
async function host(t: TestContext): Promise<Pick<CommandContext, 'config' | 'host'>> {
  const { procRoot, sysRoot, loadModule, addProcess } = await fakeHost(t);
  const { functions, members } = wantedBy(await loadFragments(probesDirectory()));
  await loadModule('vfio_pci_core', functions, members);
  await addProcess(1, 1);
  const flags = Object.entries({
    'bpftrace.path': await fakeBpftrace(t, 'counting'),
    'web.listen-address': ['127.0.0.1:0'],
    'log.level': 'silent',
  }).map(([key, raw]) => ({ key: key as keyof Config, raw, where: 'test' }));
  return {
    config: loadConfig({ environment: {}, flags, file: undefined }),
    host: { procRoot, sysRoot, uid: 0, clock: systemClock },
  };
}

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  await eventually(async () => assert.ok(await condition(), `timed out while waiting for ${what}`));
}

test('the daemon is ready when the child traces, and its recording replays to the same buffers', async (t) => {
  const context = await host(t);
  const logger = pino({ level: 'silent' });
  const path = join(await temporaryFolder(t), 'served.jsonl.gz');
  const recorder = new Recorder({ path });
  const daemon = new Daemon({
    config: context.config,
    source: tee(await liveSource(context, logger), recorder),
    version: '1.2.3',
    logger,
    clock: systemClock,
  });
  t.after(() => daemon.stop());
  await daemon.start();
  const [url = ''] = daemon.server.urls;
  const ask = async (page: string) => (await fetch(`${url}${page}`)).text();
  await until(async () => (await fetch(`${url}/-/ready`)).status === 200, 'the daemon to be ready');
  await until(() => daemon.model.status().buffer_state_exact, 'the snapshot');
  const status = JSON.parse(await ask('/api/v1/status')) as Status;
  assert.equal(status.state, 'tracing');
  assert.ok(status.probes.some((probe) => probe.attached));
  const metrics = await ask('/metrics');
  assert.match(metrics, /^vfio_dmabuf_up 1$/m);
  await daemon.stop();
  assert.equal(daemon.model.status().state, 'blind');
  const replayed = await metricsOf(new RecordingSource({ path }));
  assert.match(replayed, /^vfio_dmabuf_up 0$/m);
  assert.match(replayed, /^vfio_dmabuf_buffers\{device="0000:41:00.0".*\} 1$/m);
});

test('a file that record wrote can be replayed', async (t) => {
  const file = join(await temporaryFolder(t), 'made.jsonl.gz');
  const stop = new AbortController();
  const { stdout, stderr, stdin } = process;
  const recording = record({
    ...(await host(t)),
    operand: file,
    names: [],
    json: false,
    print: undefined,
    options: {},
    env: {},
    serverFlags: [],
    stop: { signal: stop.signal, dispose: () => {} },
    stdout,
    stderr,
    stdin,
  });
  await until(() => existsSync(file) && readFileSync(file).length > 500, 'something to be written');
  stop.abort();
  assert.equal(await recording, 0);
  assert.match(gunzipSync(readFileSync(file)).toString(), /^\{"type":"header"/);
  assert.match(await metricsOf(new RecordingSource({ path: file })), /^vfio_dmabuf_up 0$/m);
});
