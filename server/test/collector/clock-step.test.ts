import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { TracerModel } from '../../src/tracer/tracer.ts';
import { eventually } from '../fixtures/eventually.ts';
import { has, live } from './live-run.ts';

const DAY_MS = 86_400_000;

test('after the wall clock steps, event times and the age of the counters become correct without a restart', async (t) => {
  let step = -DAY_MS;
  const clock: Clock = { ...systemClock, wallMs: () => systemClock.wallMs() + step };
  const run = await live(t, { mode: 'busy', argument: '1000000', clock });
  await eventually(() => assert.ok(run.records().filter(({ type }) => type === 'export').length > 2));
  const clockLines = () => run.records().flatMap((record) => (record.type === 'clock' ? [record.data] : []));
  assert.deepEqual(clockLines(), [], 'no clock line is reported without a step');
  step = 0;
  await eventually(() => assert.equal(clockLines().length, 1));
  const seen = run.lines.length;
  await eventually(() => assert.ok(run.lines.length > seen + 50));
  assert.equal(clockLines().length, 1, 'a step is reported once');
  const [{ t: at, boot_epoch_us } = assert.fail()] = clockLines();
  assert.ok(Math.abs((boot_epoch_us + at) / 1000 - systemClock.wallMs()) < 600_000);

  const model = new TracerModel({ version: '1', source: { kind: 'live', name: 'bpftrace' } });
  const times: string[] = [];
  for (const { record } of run.lines) for (const event of model.apply(record)) times.push(event.time);
  const ageMs = (time: string | undefined) => systemClock.wallMs() - Date.parse(time ?? '');
  assert.ok(ageMs(times[0]) > DAY_MS - 600_000, 'before the step, event times are a day behind');
  assert.ok(Math.abs(ageMs(times.at(-1))) < 600_000, times.at(-1));
  assert.ok(Math.abs(systemClock.wallMs() / 1000 - model.lastCounterReadSeconds) < 600);
  assert.ok(has(run, 'heartbeat'));
});

test('a step back is reported, and a difference below half a second is not', async (t) => {
  let step = 0;
  const clock: Clock = { ...systemClock, wallMs: () => systemClock.wallMs() + step };
  const run = await live(t, { mode: 'normal', clock });
  await eventually(() => assert.ok(has(run, 'heartbeat')));
  step = 200;
  const seen = run.lines.length;
  await eventually(() => assert.ok(run.lines.length > seen + 20));
  assert.ok(!has(run, 'clock'));
  step = -DAY_MS;
  await eventually(() => assert.ok(has(run, 'clock')));
});
