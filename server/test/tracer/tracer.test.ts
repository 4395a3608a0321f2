import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Check } from 'typebox/value';
import { EVENT_KINDS, TracerEvent } from '../../src/contract/events.ts';
import { Status } from '../../src/contract/status.ts';
import { deviceAddress, packedDevice, vmKind } from '../../src/model/naming.ts';
import { PROCESS_LIMIT, ProcessTable } from '../../src/model/processes.ts';
import { EVENT_TYPES } from '../../src/protocol/tuples.ts';
import { feed } from '../fixtures/feed.ts';
import {
  bufferState,
  collectorLine,
  counterLine,
  counterRead,
  detached,
  eventLine,
  exited,
  exported,
  HEADER,
  heartbeat,
  imported,
  readEnd,
  ready,
  released,
  snapshot,
  starting,
  tupleLine,
  unmapped,
} from '../fixtures/stream-lines.ts';

const T = 3_000_000;
const BEGIN = [HEADER, starting(1_000_000, 1), ready(2_000_000)];

function identity(pid: number, startTicks: number, name: string | null, t = T) {
  return collectorLine('process', {
    t,
    pid,
    start_ticks: startTicks,
    comm: 'qemu',
    vmm: 'qemu',
    name,
    uuid: null,
  });
}

test('the probes count as emitted exactly the kinds of event', () => {
  assert.deepEqual([...EVENT_TYPES].sort(), [...EVENT_KINDS].sort());
});

test('every kind of line becomes one TracerEvent that is valid and numbered in order', () => {
  const { events } = feed([
    ...BEGIN,
    exported({ t: T, inode: 9, kvm_pid: 100, vm_type: 'snp' }),
    imported({ t: T, inode: 9, stage: 'attach', importer: 'mlx5_core' }),
    unmapped(T, 9, 'mlx5_core'),
    detached(T, 9, 'mlx5_core'),
    bufferState(T, 9, true),
    eventLine('revoke_call', { t: T }),
    eventLine('private_read', { t: T, inode: 9, kvm_pid: 100 }),
    eventLine('bind', { t: T, pid: 101, inode: 9, violation: 'foreign_vm', vm_pid: 101, owner_vm_pid: 100 }),
    eventLine('unbind', { t: T, inode: 9, vm_pid: 101 }),
    eventLine('late_release', { t: T, inode: 9, done: true }),
    eventLine('zap', { t: T, inode: 9, vm_pid: 101 }),
    released(T, 9),
  ]);
  const kernel = events.filter(({ kind }) => kind !== 'incident');
  assert.deepEqual(kernel.map(({ kind }) => kind).sort(), [...EVENT_KINDS].sort());
  assert.deepEqual(
    events.map(({ seq }) => seq),
    events.map((_, index) => index + 1),
  );
  for (const event of events) assert.ok(Check(TracerEvent, event), JSON.stringify(event));
  const bind = events.find(({ kind }) => kind === 'bind');
  assert.equal(bind?.kind === 'bind' && bind.vm?.kind, 'unknown');
  assert.equal(bind?.kind === 'bind' && bind.owner_vm?.kind, 'snp');
  const release = events.find(({ kind }) => kind === 'release');
  assert.equal(release?.kind === 'release' && release.device, '0000:41:00.0');
});

test('the status is right before, during and after tracing', () => {
  const { model, more } = feed([]);
  assert.equal(model.status().state, 'waiting');
  assert.ok(Check(Status, model.status()));
  more(HEADER, starting(1_000_000, 1));
  assert.equal(model.status().state, 'starting');
  more(ready(2_000_000), heartbeat(3_000_000, 0), ...counterRead(3_000_000, { releases: 4 }));
  assert.equal(model.status().state, 'tracing');
  assert.equal(model.status().last_counter_read, '2023-11-14T22:13:23.000Z');
  assert.equal(model.lastCounterReadSeconds, 1_700_000_003);
  more(exited(4_000_000, 1, 'hung'));
  assert.deepEqual(model.status().problem, { reason: 'hung', message: 'gone', remedy: null });
  more(
    collectorLine('child', {
      t: 5_000_000,
      generation: 0,
      state: 'unavailable',
      reason: 'no_bpftrace',
      message: 'there is none',
      remedy: 'install it',
      dialect: 'none',
      probes: [],
    }),
  );
  const status = model.status();
  assert.equal(status.state, 'unavailable');
  assert.deepEqual(status.problem, { reason: 'no_bpftrace', message: 'there is none', remedy: 'install it' });
  assert.ok(Check(Status, status));
  more(starting(6_000_000, 2), ready(7_000_000));
  assert.equal(model.status().problem, null);
  assert.equal(model.status().generation, 2);
  assert.equal(model.status().restarts, 1);
});

test('counters continue over a restart, and a start that is reported twice counts once', () => {
  const { model, more } = feed([
    ...BEGIN,
    ...counterRead(T, { releases: 4 }),
    starting(1_000_000, 1),
    ...counterRead(T, { releases: 5 }, 1),
  ]);
  assert.equal(model.counters.counter('releases')[0]?.value, 5);
  more(exited(4_000_000, 1), starting(5_000_000, 2), ready(6_000_000));
  more(...counterRead(7_000_000, { releases: 6 }));
  assert.equal(model.counters.counter('releases')[0]?.value, 11);
  assert.equal(model.status().generation, 2);
});

function second(s: number) {
  return s * 1_000_000;
}
function releases(value: number) {
  return counterLine('releases', '0', value);
}
function exports(value: number) {
  return counterLine('exports', '16640,1', value);
}

test('the time of the last read advances only with a read that has all its lines', () => {
  const { model, more } = feed(BEGIN);
  const readAt = () => model.accounting.lastReadAt;
  more(heartbeat(second(3), 0), exports(1), releases(1));
  assert.equal(readAt(), null, 'not before the end of the read');
  more(readEnd(second(3) + 50, 2));
  assert.equal(readAt(), second(3) + 50);
  more(heartbeat(second(4), 0), releases(2), readEnd(second(4), 4));
  assert.equal(readAt(), second(3) + 50, 'one of two lines was lost');
  assert.equal(model.counters.counter('releases')[0]?.value, 2, 'the line that arrived counts');
  more(heartbeat(second(5), 0), exports(1), releases(2), readEnd(second(5), 6));
  assert.equal(readAt(), second(5));
  assert.equal(model.lastCounterReadSeconds, 1_700_000_005);
});

test('a lost read end delays only its own read, with or without another lost line', () => {
  const { model, more } = feed(BEGIN);
  const readAt = () => model.accounting.lastReadAt;
  more(exports(1), releases(1), readEnd(second(3), 2));
  more(heartbeat(second(4), 0), exports(1), releases(1));
  more(heartbeat(second(5), 0));
  assert.equal(readAt(), second(3), 'the end of the second read was lost');
  more(exports(1), releases(1), readEnd(second(5), 6));
  assert.equal(readAt(), second(5), 'all lines of both reads arrived');
  more(heartbeat(second(6), 0), releases(1));
  more(heartbeat(second(7), 0), exports(1), releases(1), readEnd(second(7), 10));
  assert.equal(readAt(), second(5), 'a line of one of the two reads was lost, and it is not known of which');
  more(heartbeat(second(8), 0), exports(1), releases(1), readEnd(second(8), 12));
  assert.equal(readAt(), second(8));
});

test('a read with a line that cannot be decoded is incomplete, a read without counters is complete', () => {
  const { model, more } = feed([...BEGIN, readEnd(second(3), 0)]);
  assert.equal(model.accounting.lastReadAt, second(3));
  more(counterLine('releases', '1,2', 1), readEnd(second(4), 1));
  assert.equal(model.accounting.lastReadAt, second(3));
  assert.equal(model.accounting.decodeErrors.bad_map, 1);
});

test('a new child counts its lines from zero', () => {
  const { model, more } = feed([
    ...BEGIN,
    ...counterRead(second(3), { releases: 1, exports: { '16640,1': 2 } }),
  ]);
  more(exited(second(4), 1), starting(second(5), 2), ready(second(6)), readEnd(second(7), 1));
  assert.equal(model.accounting.lastReadAt, second(3), 'its one line was lost');
  more(...counterRead(second(8), { releases: 1 }, 1));
  assert.equal(model.accounting.lastReadAt, second(8));
});

test('a read end that arrives after the exit of its child is ignored', () => {
  const { model, more } = feed([...BEGIN, exited(second(4), 1), releases(3), readEnd(second(4), 1)]);
  assert.equal(model.accounting.lastReadAt, null);
  assert.equal(model.counters.counter('releases')[0]?.value, 3);
  more(starting(second(5), 2));
  assert.equal(model.accounting.lastReadAt, null);
});

test('a missed return makes the buffer state inexact until a snapshot that began after it', () => {
  const missed = (value: number) => counterLine('missed', '0', value);
  const { model, more } = feed([...BEGIN, snapshot(2_500_000, []), heartbeat(second(3), 0), missed(0)]);
  assert.equal(model.bufferStateExact, true);
  more(heartbeat(second(4), 0), missed(1));
  assert.equal(model.bufferStateExact, false);
  more(snapshot(3_900_000, [], { cause: 'loss' }));
  assert.equal(model.bufferStateExact, false, 'the snapshot began before the missed return was reported');
  more(snapshot(4_100_000, [], { cause: 'loss' }));
  assert.equal(model.bufferStateExact, true);
  more(heartbeat(second(5), 0), missed(1));
  assert.equal(model.bufferStateExact, true, 'no new missed return');
  more(heartbeat(second(6), 0), missed(2));
  assert.equal(model.bufferStateExact, false);
});

test('the buffer state is exact after a complete snapshot without a loss since it began', () => {
  const { model, more } = feed(BEGIN);
  assert.equal(model.bufferStateExact, false);
  more(snapshot(2_500_000, [], { complete: false }));
  assert.equal(model.bufferStateExact, false);
  more(snapshot(1_500_000, []));
  assert.equal(model.bufferStateExact, false, 'the snapshot began before the probes were ready');
  more(snapshot(2_500_000, []));
  assert.equal(model.bufferStateExact, true);
  more(collectorLine('loss', { t: 4_000_000, stage: 'queue', count: 2 }));
  assert.equal(model.bufferStateExact, false);
  more(snapshot(3_900_000, [], { cause: 'loss' }));
  assert.equal(model.bufferStateExact, false, 'the snapshot began before the loss');
  more(snapshot(4_100_000, [], { cause: 'loss' }));
  assert.equal(model.bufferStateExact, true);
  more(exited(5_000_000, 1));
  assert.equal(model.bufferStateExact, false);
  more(starting(6_000_000, 2), ready(7_000_000));
  assert.equal(model.bufferStateExact, false);
  more(snapshot(7_500_000, [], { cause: 'gap' }));
  assert.equal(model.bufferStateExact, true);
});

for (const [what, lines] of [
  ['a line that cannot be decoded', ['{"type": "val']],
  ['a full map', ['{"type": "helper_error", "helper": "map_update_elem", "retcode": -7}']],
  ['a loss that bpftrace reports', ['{"type": "lost_events", "data": {"events": 3}}']],
  ['a counter line that cannot be decoded', [counterLine('missed', '7', 1)]],
  ['a missed return', [counterLine('missed', '0', 1)]],
  ['a loss of events in the kernel ring', [heartbeat(4_000_000, 5), heartbeat(5_000_000, 5)]],
] as const) {
  test(`${what} makes the buffer state inexact`, () => {
    const { model, more } = feed([...BEGIN, snapshot(2_500_000, []), heartbeat(3_000_000, 0)]);
    assert.equal(model.bufferStateExact, true);
    more(...lines);
    assert.equal(model.bufferStateExact, false);
  });
}

test('unknown records are counted and are not errors', () => {
  const { model } = feed([
    ...BEGIN,
    'WARNING: text',
    '{"type": "printf", "data": ""}',
    '{"type": "map", "data": {"@releases": 4}}',
    tupleLine('snapshot_end', 1, 0),
  ]);
  assert.equal(model.accounting.unknownRecords, 4);
  assert.deepEqual(model.counters.counter('releases'), []);
  assert.equal(model.status().decode_errors, 0);
});

test('a VM gets its name when its process is known, also if the event arrived first', () => {
  const { model, more } = feed([...BEGIN, exported({ t: T, inode: 9, kvm_pid: 100 })]);
  assert.equal(model.buffer(9)?.vm?.name, null);
  more(identity(100, 55, 'guest'));
  assert.deepEqual(model.buffer(9)?.vm, {
    pid: 100,
    by: 'kvm',
    kind: 'default',
    vmm: 'qemu',
    name: 'guest',
    uuid: null,
    pod_uid: null,
    pod_name: null,
    pod_namespace: null,
    container_id: null,
    container_name: null,
  });
});

test('a reused pid does not rename the VM of an older buffer', () => {
  const { model, more } = feed([
    ...BEGIN,
    identity(100, 55, 'old'),
    exported({ t: T, inode: 9, kvm_pid: 100 }),
  ]);
  more(
    collectorLine('exit', { t: T + 10, pid: 100 }),
    identity(100, 310, 'new', T + 200_000),
    exported({ t: T + 200_000, inode: 10, kvm_pid: 100 }),
  );
  assert.equal(model.buffer(9)?.vm?.name, 'old');
  assert.equal(model.buffer(10)?.vm?.name, 'new');
});

test('a reused pid does not rename the VM of an older buffer, also if the exit was not reported', () => {
  const { model, more } = feed([
    ...BEGIN,
    identity(100, 55, 'old'),
    exported({ t: T, inode: 9, kvm_pid: 100 }),
  ]);
  more(identity(100, 310, 'new', T + 200_000));
  assert.equal(model.buffer(9)?.vm?.name, 'old');
});

test('the process table is limited and evicts processes that have ended first', () => {
  const table = new ProcessTable(3);
  for (const pid of [1, 2, 3]) table.at(pid, T);
  table.exit({ pid: 2, t: T });
  table.at(4, T);
  assert.equal(table.size, 3);
  assert.equal(table.at(2, T)?.goneAt, null);
  assert.equal(table.size, 3);
  assert.ok(PROCESS_LIMIT > 1000);
});

test('the process table evicts importers before a VM, also if their exit was not reported', () => {
  const table = new ProcessTable(3);
  const vm = table.at(1, T, 4);
  for (let pid = 2; pid < 10; pid += 1) table.at(pid, T);
  assert.equal(table.at(1, T), vm);
  assert.equal(table.evicted, 6);
});

test('VM kinds and device addresses have their names', () => {
  assert.equal(vmKind(255), 'unknown');
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6].map(vmKind), [
    'default',
    'sw_protected',
    'sev',
    'sev_es',
    'snp',
    'tdx',
    'type_6',
  ]);
  assert.equal(vmKind(null), 'unknown');
  assert.equal(deviceAddress(0), 'unknown');
  assert.equal(deviceAddress((1 << 16) | (0x41 << 8) | (0x1f << 3) | 7), '0001:41:1f.7');
  assert.equal(deviceAddress(0x10000 * 0x10000 + 0x100), '10000:01:00.0');
});

test('a device of a PCI domain beyond 16 bits has the same address in counters, events, buffers and device facts', () => {
  const device = 0x10001_8a00;
  const address = '10001:8a:00.0';
  const facts = {
    t: T,
    device: address,
    vendor_id: '1af4',
    device_id: '1110',
    driver: 'vfio-pci',
    iommu_group: '6',
    numa_node: -1,
  };
  const { model, events, more } = feed(
    [
      ...BEGIN,
      collectorLine('device', facts),
      exported({ t: T, inode: 5, device }),
      counterLine('exports', `${device},0`, 1),
    ],
    { keepDeparted: 10 },
  );
  assert.deepEqual([deviceAddress(device), packedDevice(address)], [address, device]);
  assert.equal(events[0]?.device, address);
  assert.equal(model.buffer(5)?.device, address);
  assert.deepEqual(
    model.counters.counter('exports').map(({ labels }) => labels.device),
    [address],
  );
  more(released(T + 1, 5), collectorLine('device_gone', { t: T + 2, device: address }));
  more(heartbeat(T + 20_000_000, 2));
  assert.deepEqual([model.devices(), model.counters.counter('exports')], [[], []]);
});

test('the counters are exact if only events are lost, and a lower bound after a lost count', () => {
  const exactAfter = (stage: string): boolean =>
    feed([
      HEADER,
      starting(T, 1),
      ready(T),
      collectorLine('loss', { t: T, stage: stage as 'queue', count: 1 }),
    ]).model.status().counters_exact;
  assert.deepEqual(['splitter', 'queue', 'relay'].map(exactAfter), [true, true, true]);
  assert.deepEqual(['probe_missed', 'map_full', 'handover'].map(exactAfter), [false, false, false]);
});
