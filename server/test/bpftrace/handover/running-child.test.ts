import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RunningChild } from '../../../src/bpftrace/handover/running-child.ts';
import type { RunnablePlan } from '../../../src/bpftrace/plan.ts';
import { isEvent } from '../../../src/protocol/decode.ts';
import type { StreamLine } from '../../../src/protocol/stream-line.ts';
import { eventually } from '../../fixtures/eventually.ts';
import { fakeBpftrace } from '../../fixtures/fake-bpftrace/fake-bpftrace.ts';

test('a standby passes on its buffered lines at its release, and counts each line beyond the limit', async (t) => {
  const arrived: StreamLine[] = [];
  const passed: StreamLine[] = [];
  let dropped = 0;
  const child = new RunningChild(
    {
      plan: {} as RunnablePlan,
      program: 'BEGIN {}\n',
      generation: 2,
      launch: { path: await fakeBpftrace(t, 'flood', '100'), guard: [], env: process.env },
      timing: { readyMs: 20_000, silenceMs: 20_000, stopMs: 20_000 },
      faults: undefined,
      onArrival: (line) => arrived.push(line),
      onLine: (line) => passed.push(line),
      onReady: () => {},
      onDropped: () => {},
      onHeldDropped: () => dropped++,
      heldLimit: 50,
    },
    true,
  );
  t.after(() => {
    child.stop();
    return child.ended;
  });
  await eventually(() => assert.ok(arrived.some(({ record }) => record.type === 'heartbeat')));
  assert.deepEqual(passed, []);
  assert.equal(dropped, arrived.length - 50);
  assert.ok(dropped > arrived.slice(50).filter(({ record }) => isEvent(record)).length);
  const held = arrived.slice(0, 50);
  child.release();
  assert.deepEqual(passed, held);
  const before = arrived.length;
  await eventually(() => assert.ok(arrived.length > before));
  assert.deepEqual(passed, [...held, ...arrived.slice(before)]);
});
