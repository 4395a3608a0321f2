import assert from 'node:assert/strict';
import { test } from 'node:test';
import { streamLine } from '../../src/protocol/stream-line.ts';
import type { Joined } from '../../src/protocol/wire.ts';
import { type AddOptions, Relay } from '../../src/relay/relay.ts';
import type { TracerModel } from '../../src/tracer/tracer.ts';
import { feed } from '../fixtures/feed.ts';
import {
  collectorLine,
  counterLine,
  DEVICE_ADDRESS,
  exited,
  exported,
  HEADER,
  heartbeat,
  processExit,
  readEnd,
  ready,
  snapshot,
  starting,
} from '../fixtures/stream-lines.ts';
import { GatedSink, turns } from './gated-sink.ts';

const SECOND = 1_000_000;
const TRACING = [HEADER, starting(SECOND, 1), ready(SECOND)];
const DEVICE_LINE = collectorLine('device', {
  t: SECOND,
  device: DEVICE_ADDRESS,
  vendor_id: '10de',
  device_id: '2330',
  driver: 'vfio-pci',
  iommu_group: '1',
  numa_node: 0,
});

function qemu(pid: number, name: string): string {
  const identity = { comm: 'qemu', vmm: 'qemu', name, uuid: null };
  return collectorLine('process', { t: SECOND, pid, start_ticks: 1, ...identity });
}

/** A relay with a clock that is always at 60 s, and the number of snapshots that it has requested. */
function relaying(...lines: string[]) {
  const requests = { snapshots: 0 };
  const relay = new Relay({
    bootUs: () => 60 * SECOND,
    onResync: () => {
      requests.snapshots += 1;
    },
  });
  const write = (...more: string[]): void => {
    for (const line of more) relay.write(streamLine(line));
  };
  write(...lines);
  return { relay, write, requests };
}

function reading(relay: Relay, options: AddOptions = {}) {
  const sink = new GatedSink();
  return { sink, reader: relay.add(sink, options) };
}

function joined(lines: readonly string[]): Joined[] {
  return lines.flatMap((line) => {
    const { record } = streamLine(line);
    return record.type === 'joined' ? [record.data] : [];
  });
}

/** The lines without those of the type `joined`. */
function others(lines: readonly string[]): string[] {
  return lines.filter((line) => streamLine(line).record.type !== 'joined');
}

function exportsOf(model: TracerModel): number {
  return model.counters.totals.counters.exports;
}

test('a reader from the start gets every line unchanged, and after the header where it has joined', async () => {
  const { relay, write, requests } = relaying();
  const { sink } = reading(relay);
  const lines = [...TRACING, exported({ t: SECOND, inode: 7 }), heartbeat(SECOND, 1)];
  write(...lines);
  await turns();
  assert.deepEqual(others(sink.lines), lines);
  assert.equal(
    sink.lines[1],
    sink.lines.find((line) => line.includes('joined')),
  );
  assert.deepEqual(joined(sink.lines), [{ t: 60 * SECOND, stream: relay.id, next: 1, missed: 0, state: 0 }]);
  assert.equal(requests.snapshots, 0, 'it has missed nothing');
});

test('a late reader gets the header and the current state, and a snapshot is requested', async () => {
  const { relay, write, requests } = relaying(...TRACING, DEVICE_LINE, qemu(7, 'web'), heartbeat(SECOND, 0));
  const { sink } = reading(relay);
  write(heartbeat(2 * SECOND, 0));
  await turns();
  const state = [DEVICE_LINE, qemu(7, 'web'), starting(SECOND, 1)];
  assert.deepEqual(others(sink.lines), [HEADER, ...state, heartbeat(2 * SECOND, 0)]);
  assert.deepEqual(joined(sink.lines), [{ t: 60 * SECOND, stream: relay.id, next: 6, missed: 0, state: 3 }]);
  assert.equal(requests.snapshots, 1);
});

test('two streams have different ids', () => {
  assert.notEqual(relaying().relay.id, relaying().relay.id);
});

test('lines of one turn of the event loop are one write', async () => {
  const { relay, write } = relaying();
  const { sink } = reading(relay);
  let writes = 0;
  const { _write } = sink;
  sink._write = (...rest) => {
    writes += 1;
    _write.apply(sink, rest);
  };
  write(...TRACING);
  await turns();
  write(heartbeat(SECOND, 0), heartbeat(2 * SECOND, 0));
  await turns();
  assert.deepEqual([writes, sink.lines.length], [2, 6]);
});

/** Lets a reader miss these lines, and returns all lines that it got, with the lines after the gap. */
async function missing(lines: readonly string[], after: readonly string[]) {
  const { relay, write, requests } = relaying();
  const { sink, reader } = reading(relay, { maxPendingBytes: 30_000 });
  write(...TRACING, qemu(1, 'before'));
  await turns();
  sink.close();
  // Fills the queue with lines that change nothing.
  write(...Array.from({ length: 1000 }, (_, index) => heartbeat(2 * SECOND + index, 0)));
  const { lines: filled } = relay.dropped;
  assert.ok(filled > 0 && filled < 1000);
  write(...lines);
  assert.deepEqual(
    [relay.dropped.lines - filled, requests.snapshots],
    [lines.length, 0],
    'all of them are dropped',
  );
  sink.open();
  await turns(10);
  assert.equal(reader.pendingBytes, 0);
  assert.equal(requests.snapshots, 1);
  write(...after);
  await turns(10);
  return { relay, lines: sink.lines, model: feed(sink.lines).model };
}

test('events that were dropped for a slow reader are counted, and the kernel has not lost them', async () => {
  const dropped = Array.from({ length: 250 }, (_, inode) => exported({ t: 3 * SECOND, inode: inode + 1 }));
  const malformed = '{"type": "value", "data": [2,"x"]}';
  const { model, relay } = await missing(
    [
      ...dropped,
      malformed,
      counterLine('exports', '16640,1', 250),
      readEnd(3 * SECOND, 1),
      heartbeat(3 * SECOND, 251),
      counterLine('exports', '16640,1', 250),
      readEnd(3 * SECOND, 2),
    ],
    [
      exported({ t: 4 * SECOND, inode: 999 }),
      heartbeat(4 * SECOND, 254),
      counterLine('exports', '16640,1', 251),
      readEnd(4 * SECOND, 3),
      heartbeat(5 * SECOND, 254),
      counterLine('exports', '16640,1', 251),
      readEnd(5 * SECOND, 4),
    ],
  );
  const { losses, eventsReceived, counterLinesLost } = model.accounting;
  assert.deepEqual([losses.relay, losses.kernel_ring, eventsReceived], [251, 2, 1]);
  assert.deepEqual([exportsOf(model), model.countersExact, counterLinesLost], [251, true, 0]);
  assert.equal(relay.dropped.events, 251);
});

test('a reader that has missed lines knows the devices and processes of the time after it', async () => {
  const { model, lines } = await missing(
    [DEVICE_LINE, qemu(7, 'old'), qemu(7, 'web'), qemu(8, 'gone'), processExit(3 * SECOND, 8)],
    [exported({ t: 100 * SECOND, inode: 7, pid: 7, kvm_pid: 7 }), heartbeat(100 * SECOND, 1)],
  );
  assert.deepEqual(
    model.devices().map(({ device }) => device),
    [DEVICE_ADDRESS],
  );
  assert.equal(model.buffer(7)?.vm?.name, 'web');
  assert.ok(!lines.includes(qemu(7, 'old')), 'a newer line replaces it');
  assert.ok(lines.includes(processExit(3 * SECOND, 8)));
  assert.equal(lines.filter((line) => line === starting(SECOND, 1)).length, 1, 'the child starts once');
});

test('the buffers are inexact for a reader that has missed events, until the next snapshot', async () => {
  const { model } = await missing(
    [exported({ t: 3 * SECOND, inode: 7 }), snapshot(4 * SECOND, [])],
    [heartbeat(61 * SECOND, 1)],
  );
  assert.equal(model.bufferStateExact, false);
  const { model: confirmed } = await missing(
    [exported({ t: 3 * SECOND, inode: 7 })],
    [heartbeat(61 * SECOND, 1), snapshot(61 * SECOND, [])],
  );
  assert.equal(confirmed.bufferStateExact, true);
});

test('a child that ends while its lines are dropped loses no count, and its losses are not those of the next one', async () => {
  const { model } = await missing(
    [
      exported({ t: 3 * SECOND, inode: 1 }),
      counterLine('exports', '16640,1', 1),
      exported({ t: 4 * SECOND, inode: 2 }),
      exported({ t: 4 * SECOND, inode: 3 }),
      counterLine('exports', '16640,1', 3),
      // The kernel has lost one more.
      heartbeat(5 * SECOND, 4),
      exited(5 * SECOND, 1),
      collectorLine('tick', { t: 6 * SECOND }),
      starting(7 * SECOND, 2),
      ready(7 * SECOND),
      exported({ t: 7 * SECOND, inode: 4 }),
      counterLine('exports', '16640,1', 5),
      heartbeat(8 * SECOND, 3),
    ],
    [
      counterLine('exports', '16640,1', 6),
      heartbeat(9 * SECOND, 3),
      heartbeat(10 * SECOND, 3),
      readEnd(10 * SECOND, 2),
    ],
  );
  const { losses, restarts, blindSeconds, generation } = model.accounting;
  assert.equal(exportsOf(model), 3 + 6);
  assert.deepEqual([losses.relay, losses.kernel_ring], [4, 1 + 2]);
  assert.deepEqual([restarts.crashed, blindSeconds, generation], [1, 2, 2]);
});

test('a reader that has missed too many facts gets the whole state again, but not the start of the child', async () => {
  const names = Array.from({ length: 500 }, (_, index) => qemu(1000 + index, `vm-${index}`));
  const { lines } = await missing(names, []);
  for (const name of names) assert.ok(lines.includes(name));
  assert.equal(lines.filter((line) => line === starting(SECOND, 1)).length, 1);
});

test('of many children that end while lines are dropped, the reader knows the first end and the last start', async () => {
  const { model } = await missing(
    [
      counterLine('exports', '16640,1', 4),
      exited(3 * SECOND, 1),
      ...Array.from({ length: 50 }, (_, index) => index + 2).flatMap((generation) => [
        starting(generation * 2 * SECOND, generation),
        exited((generation * 2 + 1) * SECOND, generation),
      ]),
      starting(200 * SECOND, 52),
      ready(201 * SECOND),
    ],
    [counterLine('exports', '16640,1', 3), heartbeat(202 * SECOND, 0)],
  );
  assert.equal(exportsOf(model), 7);
  assert.equal(model.accounting.state, 'tracing');
  assert.ok(model.accounting.generation < 52, 'the limit was reached');
});

test('the number of the next line is right after each gap', async () => {
  const { relay, write } = relaying();
  const { sink } = reading(relay, { maxPendingBytes: 4000 });
  write(...TRACING);
  let number = TRACING.length;
  for (let gap = 0; gap < 3; gap += 1) {
    await turns(10);
    sink.close();
    for (let index = 0; index < 200; index += 1, number += 1) write(heartbeat(number, 0));
    sink.open();
  }
  await turns(10);
  // The time of a heartbeat is its number here.
  let next = 0;
  let unnumbered = 0;
  let checked = 0;
  for (const line of sink.lines) {
    const { record } = streamLine(line);
    if (record.type === 'joined') {
      next = record.data.next;
      unnumbered = record.data.state;
    } else if (unnumbered > 0) unnumbered -= 1;
    else {
      if (record.type === 'heartbeat') {
        assert.equal(record.data.t, next);
        checked += 1;
      }
      next += 1;
    }
  }
  assert.ok(joined(sink.lines).length >= 3 && checked > 100);
});

test('a slow reader does not delay another one', async () => {
  const { relay, write } = relaying();
  const slow = reading(relay, { maxPendingBytes: 1000 });
  const fast = reading(relay);
  slow.sink.close();
  const lines = [...TRACING, ...Array.from({ length: 300 }, (_, t) => heartbeat(t, 0))];
  write(...lines);
  await turns(10);
  assert.deepEqual(others(fast.sink.lines), lines);
  assert.ok(relay.dropped.lines > 200);
});

test('a reader whose sink fails is removed, and the others go on', async () => {
  const { relay, write } = relaying();
  const ends: (Error | undefined)[] = [];
  const broken = reading(relay, { onEnd: (error) => ends.push(error) });
  const other = reading(relay);
  write(...TRACING);
  broken.sink.destroy(new Error('EPIPE'));
  await turns();
  write(heartbeat(SECOND, 0));
  await turns();
  assert.deepEqual(
    ends.map((error) => error?.message),
    ['EPIPE'],
  );
  assert.equal(relay.readers, 1);
  assert.equal(others(other.sink.lines).length, 4);
  assert.equal(relay.dropped.lines, 0);
});

test('stop lets the readers read what waits for them, and destroys a sink that does not accept it in time', async () => {
  const { relay, write } = relaying();
  const ends: (Error | undefined)[] = [];
  const first = reading(relay, { onEnd: (error) => ends.push(error) });
  write(...TRACING);
  await relay.stop(10_000);
  assert.deepEqual(others(first.sink.lines), TRACING);
  assert.deepEqual([ends, relay.readers, first.sink.writableFinished], [[undefined], 0, true]);

  const second = relaying();
  const stuck = reading(second.relay);
  stuck.sink.close();
  second.write(...TRACING);
  await second.relay.stop(10);
  assert.deepEqual([stuck.sink.destroyed, second.relay.readers], [true, 0]);
});

test('a reader that is stopped in a gap gets the count of the dropped events last', async () => {
  const { relay, write } = relaying();
  const { sink, reader } = reading(relay, { maxPendingBytes: 1000 });
  sink.close();
  write(...TRACING, ...Array.from({ length: 20 }, (_, inode) => exported({ t: SECOND, inode: inode + 1 })));
  const stopped = reader.stop(10_000);
  sink.open();
  await stopped;
  const { record } = streamLine(sink.lines.at(-1) ?? '');
  assert.deepEqual(record, {
    type: 'loss',
    data: { t: 60 * SECOND, stage: 'relay', count: relay.dropped.events },
  });
  assert.ok(relay.dropped.events > 0);
});
