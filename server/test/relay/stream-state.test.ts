import assert from 'node:assert/strict';
import { test } from 'node:test';
import { streamLine } from '../../src/protocol/stream-line.ts';
import { StreamState } from '../../src/relay/stream-state.ts';
import { feed } from '../fixtures/feed.ts';
import {
  collectorLine,
  counterLine,
  DEVICE_ADDRESS,
  exited,
  exported,
  HEADER,
  heartbeat,
  readEnd,
  ready,
  starting,
  untraceable,
} from '../fixtures/stream-lines.ts';

const SECOND = 1_000_000;

function stateAfter(...lines: string[]): StreamState {
  const state = new StreamState();
  for (const line of lines) state.observe(streamLine(line));
  return state;
}

function device(address: string, driver = 'vfio-pci'): string {
  return collectorLine('device', {
    t: SECOND,
    device: address,
    vendor_id: '10de',
    device_id: '2330',
    driver,
    iommu_group: '1',
    numa_node: 0,
  });
}

function process(pid: number, startTicks: number, name: string | null = null): string {
  return collectorLine('process', {
    t: SECOND,
    pid,
    start_ticks: startTicks,
    comm: 'qemu',
    vmm: 'qemu',
    name,
    uuid: null,
  });
}

function changed(t: number, generation: number): string {
  return collectorLine('child', {
    t,
    generation,
    state: 'changed',
    probes: [],
    blind: ['bind'],
    blind_since: t,
  });
}

/** What a new reader gets. */
function linesOf(state: StreamState): string[] {
  return state.header === null ? [] : [state.header, ...state.ofNewReader()];
}

function loss(stage: 'queue' | 'probe_missed', count: number): string {
  return collectorLine('loss', { t: SECOND, stage, count });
}

function hostError(count: number): string {
  return collectorLine('host_error', { t: SECOND, source: 'modules', count, message: 'EMFILE' });
}

function clock(epoch: number): string {
  return collectorLine('clock', { t: SECOND, boot_epoch_us: epoch });
}

test('before the header there is no state', () => {
  assert.deepEqual(linesOf(stateAfter(starting(SECOND, 1))), []);
});

test('of lines that replace each other only the last one is kept, and the lines of the child come last', () => {
  const lines = linesOf(
    stateAfter(
      HEADER,
      clock(1),
      starting(SECOND, 1),
      ready(SECOND),
      changed(2 * SECOND, 1),
      loss('queue', 1),
      loss('probe_missed', 5),
      hostError(1),
      device(DEVICE_ADDRESS, 'none'),
      process(7, 3),
      exported({ t: SECOND, inode: 7 }),
      heartbeat(SECOND, 1),
      readEnd(SECOND, 0),
      clock(2),
      loss('queue', 2),
      hostError(2),
      device(DEVICE_ADDRESS),
      process(7, 3, 'web'),
      changed(3 * SECOND, 1),
    ),
  );
  assert.deepEqual(lines, [
    HEADER,
    clock(2),
    loss('queue', 2),
    loss('probe_missed', 5),
    hostError(2),
    device(DEVICE_ADDRESS),
    process(7, 3, 'web'),
    starting(SECOND, 1),
    changed(2 * SECOND, 1),
    changed(3 * SECOND, 1),
  ]);
});

test('a child that has ended is reported by its end only, and so is a host that cannot be traced', () => {
  const lines = [HEADER, starting(SECOND, 1), changed(SECOND, 1), exited(2 * SECOND, 1)];
  assert.deepEqual(linesOf(stateAfter(...lines)), [HEADER, exited(2 * SECOND, 1)]);
  assert.deepEqual(linesOf(stateAfter(...lines, untraceable(3))), [HEADER, untraceable(3)]);
  assert.deepEqual(linesOf(stateAfter(...lines, starting(4, 2))), [HEADER, starting(4, 2)]);
});

test('devices that have departed and processes that have ended are left out', () => {
  const exit = (pid: number, start?: number): string =>
    collectorLine('exit', { t: 9, pid, ...(start === undefined ? {} : { start_ticks: start }) });
  const state = stateAfter(
    HEADER,
    device('0000:01:00.0'),
    device('0000:02:00.0'),
    collectorLine('device_gone', { t: 9, device: '0000:01:00.0' }),
    process(1, 1),
    process(2, 2),
    process(3, 30),
    exit(1),
    exit(2, 2),
    exit(3, 29),
  );
  assert.deepEqual(linesOf(state), [HEADER, device('0000:02:00.0'), process(3, 30)]);
});

test('the newest 8192 processes and devices, and 64 changes of the child, are kept', () => {
  const state = stateAfter(HEADER, starting(SECOND, 1));
  for (let index = 0; index < 8200; index += 1) {
    state.observe(streamLine(process(index + 1, 1)));
    state.observe(streamLine(device(`${index.toString(16).padStart(4, '0')}:01:00.0`)));
  }
  for (let index = 0; index < 100; index += 1) state.observe(streamLine(changed(index, 1)));
  const lines = linesOf(state);
  const count = (type: string): number => lines.filter((line) => line.startsWith(`{"type":"${type}"`)).length;
  assert.deepEqual([count('process'), count('device'), count('child')], [8192, 8192, 64]);
  assert.ok(lines.includes(starting(SECOND, 1)), 'the start of the child is kept');
  assert.ok(lines.includes(changed(99, 1)));
  assert.ok(lines.includes(process(8200, 1)) && !lines.includes(process(8, 1)));
});

test('a model that starts with the state loses no event and knows the losses of before', () => {
  const state = stateAfter(HEADER, loss('queue', 3), starting(SECOND, 1), ready(SECOND));
  const { model } = feed([
    ...linesOf(state),
    exported({ t: 3 * SECOND, inode: 8 }),
    heartbeat(4 * SECOND, 1001),
    readEnd(4 * SECOND, 500),
    heartbeat(5 * SECOND, 1001),
    readEnd(5 * SECOND, 500),
  ]);
  const { losses, eventsEmitted, counterLinesLost, state: collection } = model.accounting;
  assert.deepEqual([losses.kernel_ring, losses.queue, eventsEmitted, counterLinesLost], [0, 3, 1, 0]);
  assert.equal(collection, 'tracing');
});

test('a model that starts while no child runs counts the blind time since its end', () => {
  const state = stateAfter(HEADER, starting(SECOND, 1), exited(2 * SECOND, 1));
  const { model } = feed([...linesOf(state), collectorLine('tick', { t: 5 * SECOND })]);
  assert.deepEqual([model.accounting.state, model.accounting.blindSeconds], ['blind', 3]);
});

test('a new reader gets the sums of the children that have ended, and counts what the running one counts', () => {
  const count = (value: number) => counterLine('releases', '0', value);
  const one = counterLine('exports', '64,2', 3);
  const state = stateAfter(HEADER, starting(SECOND, 1), count(5), count(7), one, exited(2 * SECOND, 1));
  for (const line of [
    starting(3 * SECOND, 2),
    count(2),
    exited(4 * SECOND, 2),
    starting(5 * SECOND, 3),
    count(4),
  ])
    state.observe(streamLine(line));
  assert.deepEqual(linesOf(state), [HEADER, count(9), one, starting(5 * SECOND, 3)]);
  const { model } = feed([...linesOf(state), count(4), count(6)]);
  assert.equal(model.counters.totals.counters.releases, 15);
  assert.equal(model.counters.totals.counters.exports, 3);
  assert.deepEqual(
    state.afterGap(),
    [starting(5 * SECOND, 3)],
    'a reader that returns has these counts already',
  );
});
