import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { createLiveSource } from '../../src/collector/collector.ts';
import type { SupervisorTiming } from '../../src/collector/timing.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { decodeLine, type StreamRecord } from '../../src/protocol/decode.ts';
import type { StreamLine } from '../../src/protocol/stream-line.ts';
import type { Child, Snapshot } from '../../src/protocol/wire.ts';
import { testFragments } from '../bpftrace/test-fragments.ts';
import { fakeBpftrace } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { type FakeHost, fakeHost } from './fake-host.ts';

export const TIMING: SupervisorTiming = {
  readyMs: 20_000,
  silenceMs: 20_000,
  stopMs: 500,
  // As in production: on a loaded machine, a fake that reads its command too late does not hand over.
  cutAheadMs: 6000,
  commandPollMs: 1000,
  drainMs: 3000,
  restartMs: 10,
  restartMaxMs: 40,
  stableMs: 60_000,
  unavailableMs: 50,
  exclusionMs: 600_000,
  exclusionMaxMs: 600_000,
  tickMs: 20,
  processesMs: 20,
  missesMs: 20,
  modulesMs: 20,
  spacingMs: { start: 0, gap: 0, loss: 60_000, owner_exit: 10 },
};

/** A supervisor that runs against a fake host and a fake bpftrace. */
export interface Live {
  host: FakeHost;
  lines: StreamLine[];
  records: () => StreamRecord[];
  children: () => Child[];
  snapshots: () => Snapshot[];
  requestSnapshot: () => void;
  stop: () => Promise<void>;
}

interface Setup {
  mode: string;
  argument?: string;
  timing?: Partial<SupervisorTiming>;
  clock?: Clock;
  uid?: number;
  prepare?: (host: FakeHost) => Promise<void>;
}

export async function live(t: TestContext, setup: Setup): Promise<Live> {
  const host = await fakeHost(t);
  await setup.prepare?.(host);
  const source = createLiveSource({
    fragments: testFragments(),
    bpftrace:
      setup.mode === 'none'
        ? '/nonexistent'
        : await fakeBpftrace(t, setup.mode, setup.mode === 'gated' ? host.procRoot : setup.argument),
    mapKeys: 64,
    tracer: '1.2.3',
    logger: { info: () => {}, warn: () => {} },
    clock: setup.clock ?? systemClock,
    procRoot: host.procRoot,
    sysRoot: host.sysRoot,
    uid: setup.uid ?? 0,
    timing: { ...TIMING, ...setup.timing },
  });
  const lines: StreamLine[] = [];
  const controller = new AbortController();
  const ended = source.run((line) => lines.push(line), controller.signal);
  const checked: StreamRecord[] = [];
  // Tests poll this function, so it checks each line only once.
  const records = (): StreamRecord[] => {
    for (const { raw, record } of lines.slice(checked.length)) {
      assert.deepEqual(record, decodeLine(raw), 'a replay would decode another record');
      if (record.type === 'failure') assert.fail(JSON.stringify(record));
      checked.push(record);
    }
    return [...checked];
  };
  const stop = async (): Promise<void> => {
    controller.abort();
    await ended;
  };
  t.after(stop);
  return {
    host,
    lines,
    records,
    children: () => records().flatMap((record) => (record.type === 'child' ? [record.data] : [])),
    snapshots: () => records().flatMap((record) => (record.type === 'snapshot' ? [record.data] : [])),
    requestSnapshot: () => source.requestSnapshot(),
    stop,
  };
}

export async function until(condition: () => boolean, seconds = 120): Promise<void> {
  for (const end = Date.now() + seconds * 1000; !condition(); await wait(10))
    assert.ok(Date.now() < end, `the condition was not met within ${seconds} s: ${condition}`);
}

export function has(run: Live, type: StreamRecord['type']): boolean {
  return run.records().some((record) => record.type === type);
}
