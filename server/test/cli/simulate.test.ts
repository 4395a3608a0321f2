import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { wantedBy } from '../../src/bpftrace/compiler/compose.ts';
import { loadFragments } from '../../src/bpftrace/compiler/fragment.ts';
import { liveSource } from '../../src/cli/live-source.ts';
import { DEFAULT_TIMING } from '../../src/collector/timing.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Daemon } from '../../src/daemon.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { probesDirectory } from '../../src/lib/probes-directory.ts';
import { fakeHost } from '../collector/fake-host.ts';
import { eventually } from '../fixtures/eventually.ts';
import { fakeBpftrace } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';

/** Pauses that are short enough for a test, also the one between snapshots after a loss. */
const TIMING = {
  restartMs: 50,
  tickMs: 50,
  spacingMs: { ...DEFAULT_TIMING.spacingMs, loss: 50 },
};

interface Served {
  /** The value of a served series; 0 if it is absent. */
  sample: (series: string) => Promise<number>;
  until: (condition: () => Promise<boolean>, what: string) => Promise<void>;
  ask: (path: string) => Promise<string>;
}

async function serve(t: TestContext, simulate: string, mode: string, argument = ''): Promise<Served> {
  const { procRoot, sysRoot, loadModule, addProcess } = await fakeHost(t);
  const { functions, members } = wantedBy(await loadFragments(probesDirectory()));
  await loadModule('vfio_pci_core', functions, members);
  await addProcess(1, 1);
  const flags = [
    { key: 'bpftrace.path', raw: await fakeBpftrace(t, mode, argument), where: 'test' },
    { key: 'web.listen-address', raw: ['127.0.0.1:0'], where: 'test' },
    ...(simulate === '' ? [] : [{ key: 'simulate', raw: simulate, where: 'test' } as const]),
  ] as const;
  const config = loadConfig({ environment: {}, flags, file: undefined });
  const logger = pino({ level: 'silent' });
  const host = { procRoot, sysRoot, uid: 0, clock: systemClock, timing: TIMING };
  const daemon = new Daemon({
    config,
    source: await liveSource({ config, host }, logger),
    version: '1.2.3',
    logger,
    clock: systemClock,
  });
  t.after(() => daemon.stop());
  await daemon.start();
  const [url = ''] = daemon.server.urls;
  const ask = async (path: string) => (await fetch(`${url}${path}`)).text();
  return {
    ask,
    sample: async (series) => {
      const line = (await ask('/metrics'))
        .split('\n')
        .find((text) => text.startsWith(`vfio_dmabuf_${series} `));
      return Number(line?.split(' ').at(-1) ?? 0);
    },
    until: (condition, what) =>
      eventually(async () => assert.ok(await condition(), `timed out while waiting for ${what}`), 100),
  };
}

const EXACT = 'buffer_state_exact';

test('a simulated loss is counted as a loss of the kernel ring, and the state is exact again after a snapshot', async (t) => {
  const { sample, until, ask } = await serve(t, 'loss=10%', 'busy', '100');
  const lost = () => sample('events_lost_total{stage="kernel_ring"}');
  await until(async () => (await lost()) === 10, 'ten of a hundred events to be lost');
  assert.equal(await sample('events_total{kind="export"}'), 90);
  await until(async () => (await sample(EXACT)) === 1, 'a snapshot after the last loss');
  assert.equal(await lost(), 10);
  assert.equal(await sample('up'), 1);
  const status = JSON.parse(await ask('/api/v1/status'));
  assert.equal(status.simulation, 'loss=10%');
  assert.match(await ask('/metrics'), /^vfio_dmabuf_simulation_info\{faults="loss=10%"\} 1$/m);
  assert.match(await ask('/'), /Simulated.*loss=10%: some data here is simulated/s);
});

test('a simulated malformed line is counted as a decode error, and the state is exact again after a snapshot', async (t) => {
  const { sample, until } = await serve(t, 'malformed=1/1s', 'counting');
  const errors = () => sample('decode_errors_total{reason="not_json"}');
  await until(async () => (await errors()) >= 1, 'a malformed line');
  await until(async () => (await sample(EXACT)) === 1, 'the state to be exact again');
  const before = await errors();
  await until(async () => (await errors()) > before, 'the next one');
  assert.equal(await sample('events_lost_total{stage="kernel_ring"}'), 0);
});

test('a simulated crash is counted as a restart and as blind time, and the next child traces again', async (t) => {
  const { sample, until } = await serve(t, 'crash=3s', 'counting');
  const killed = () => sample('collector_restarts_total{reason="killed"}');
  await until(async () => (await killed()) >= 1, 'a child to be killed and replaced');
  await until(
    async () => (await sample('up')) === 1 && (await sample(EXACT)) === 1,
    'the next child to trace',
  );
  assert.ok((await sample('blind_seconds_total')) > 0);
  const before = await killed();
  await until(async () => (await killed()) > before, 'the next crash');
});

test('without faults, no output reports a simulation', async (t) => {
  const { sample, until, ask } = await serve(t, '', 'busy', '20');
  await until(async () => (await sample('events_total{kind="export"}')) === 20, 'all events');
  assert.equal(await sample('events_lost_total{stage="kernel_ring"}'), 0);
  assert.doesNotMatch(await ask('/metrics'), /simulation_info/);
  assert.equal(JSON.parse(await ask('/api/v1/status')).simulation, null);
});
