import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Accounting } from '../../src/model/accounting.ts';

const SECOND = 1_000_000;

function running(): Accounting {
  const accounting = new Accounting();
  accounting.childStarting(0);
  accounting.ready(SECOND);
  return accounting;
}

function events(accounting: Accounting, count: number, t: number): void {
  for (let index = 0; index < count; index += 1) accounting.event('export', t);
}

test('the first start adds no blind time', () => {
  assert.equal(running().blindSeconds, 0);
  assert.equal(running().state, 'tracing');
});

test('blind time lasts from the last heartbeat of the old child until the next child is ready', () => {
  const accounting = running();
  accounting.heartbeat(2 * SECOND, 0);
  accounting.childExited(5 * SECOND, 'crashed');
  assert.equal(accounting.blindSeconds, 0);
  accounting.tick(6 * SECOND);
  assert.equal(accounting.blindSeconds, 4);
  accounting.childStarting(7 * SECOND);
  assert.equal(accounting.state, 'blind');
  accounting.ready(8 * SECOND);
  assert.equal(accounting.blindSeconds, 6);
  accounting.heartbeat(20 * SECOND, 0);
  assert.equal(accounting.blindSeconds, 6);
  assert.equal(accounting.restarts.crashed, 1);
});

test('a child without a heartbeat was blind from its start', () => {
  const accounting = new Accounting();
  accounting.childStarting(3 * SECOND);
  accounting.childExited(5 * SECOND, 'start_failed');
  accounting.tick(7 * SECOND);
  assert.equal(accounting.blindSeconds, 4);
});

test('a child whose probes were unloaded with their module was blind since the last good check, not its last heartbeat', () => {
  const accounting = running();
  for (const beat of [5, 8, 9]) accounting.heartbeat(beat * SECOND, 0);
  accounting.childExited(10 * SECOND, 'stopped', 5 * SECOND);
  accounting.tick(11 * SECOND);
  assert.equal(accounting.blindSeconds, 6);
  accounting.childStarting(12 * SECOND);
  accounting.ready(14 * SECOND);
  assert.equal(accounting.blindSeconds, 9);
});

test('a check from before the child was ready adds no blind time twice, and none for the first start', () => {
  const accounting = new Accounting();
  accounting.childStarting(3 * SECOND);
  accounting.ready(6 * SECOND);
  accounting.heartbeat(7 * SECOND, 0);
  accounting.childExited(8 * SECOND, 'stopped', 2 * SECOND);
  accounting.childStarting(9 * SECOND);
  accounting.ready(10 * SECOND);
  assert.equal(accounting.blindSeconds, 4);
  accounting.heartbeat(11 * SECOND, 0);
  accounting.childExited(12 * SECOND, 'stopped', 8 * SECOND);
  accounting.tick(13 * SECOND);
  assert.equal(accounting.blindSeconds, 7);
});

test('the exit of a child without a heartbeat counts no blind time twice', () => {
  const accounting = running();
  accounting.heartbeat(2 * SECOND, 0);
  accounting.childExited(3 * SECOND, 'crashed');
  accounting.childStarting(4 * SECOND);
  accounting.ready(6 * SECOND);
  accounting.childExited(7 * SECOND, 'crashed');
  accounting.tick(8 * SECOND);
  assert.equal(accounting.blindSeconds, 6);
});

test('a probe is blind from the check before its module changed until a program takes over', () => {
  const accounting = running();
  accounting.heartbeat(9 * SECOND, 0);
  accounting.probesChanged(10 * SECOND, ['iommufd_file'], 5 * SECOND);
  assert.equal(accounting.lastLossAt, 10 * SECOND);
  accounting.heartbeat(11 * SECOND, 0);
  assert.equal(accounting.probeBlindSeconds('iommufd_file'), 6);
  accounting.childExited(20 * SECOND, 'handed_over');
  accounting.childStarting(20 * SECOND);
  assert.equal(accounting.probeBlindSeconds('iommufd_file'), 15);
  accounting.ready(12 * SECOND);
  accounting.heartbeat(30 * SECOND, 0);
  assert.equal(accounting.probeBlindSeconds('iommufd_file'), 15);
  assert.equal(accounting.probeBlindSeconds('export'), 0);
  assert.equal(accounting.blindSeconds, 0);
  accounting.probesChanged(40 * SECOND, ['iommufd_file'], 35 * SECOND);
  accounting.heartbeat(41 * SECOND, 0);
  assert.equal(accounting.probeBlindSeconds('iommufd_file'), 21);
});

test('a module that is reloaded during a handover adds its blind time once', () => {
  const accounting = running();
  accounting.heartbeat(9 * SECOND, 0);
  accounting.probesChanged(10 * SECOND, ['iommufd_file'], 5 * SECOND);
  accounting.childExited(20 * SECOND, 'handed_over');
  accounting.childStarting(20 * SECOND);
  accounting.probesChanged(21 * SECOND, ['iommufd_file'], 10 * SECOND);
  accounting.heartbeat(25 * SECOND, 0);
  assert.equal(accounting.probeBlindSeconds('iommufd_file'), 20);
});

test('without a handover a probe is blind alone until the child exits and all probes are blind', () => {
  const accounting = running();
  accounting.heartbeat(9 * SECOND, 0);
  accounting.probesChanged(10 * SECOND, ['iommufd_file'], 5 * SECOND);
  accounting.childExited(14 * SECOND, 'stopped');
  accounting.tick(15 * SECOND);
  accounting.childStarting(16 * SECOND);
  accounting.ready(18 * SECOND);
  accounting.heartbeat(19 * SECOND, 0);
  assert.equal(accounting.probeBlindSeconds('iommufd_file'), 4);
  assert.equal(accounting.blindSeconds, 9);
});

test('a probe whose module changes during a start is blind from when that child is ready', () => {
  const accounting = new Accounting();
  accounting.childStarting(3 * SECOND);
  accounting.probesChanged(5 * SECOND, ['iommufd_file'], 4 * SECOND);
  accounting.ready(6 * SECOND);
  accounting.heartbeat(8 * SECOND, 0);
  assert.equal(accounting.probeBlindSeconds('iommufd_file'), 2);
  const never = new Accounting();
  never.childStarting(3 * SECOND);
  never.probesChanged(5 * SECOND, ['iommufd_file'], 2 * SECOND);
  never.childExited(7 * SECOND, 'stopped');
  never.childStarting(8 * SECOND);
  never.ready(9 * SECOND);
  never.heartbeat(10 * SECOND, 0);
  assert.equal(never.probeBlindSeconds('iommufd_file'), 0);
});

test('time in which no child can run is blind, and the first child after it is not a restart', () => {
  const accounting = new Accounting();
  accounting.childUnavailable(SECOND, 'no_bpftrace');
  accounting.tick(4 * SECOND);
  assert.equal(accounting.state, 'unavailable');
  assert.equal(accounting.blindSeconds, 3);
  accounting.childStarting(5 * SECOND);
  accounting.ready(6 * SECOND);
  assert.equal(accounting.blindSeconds, 5);
  assert.equal(accounting.restarts.no_bpftrace, 0);
});

test('a handover adds no blind time, and the events of the new child are counted separately', () => {
  const accounting = running();
  accounting.event('export', 2 * SECOND);
  accounting.heartbeat(2 * SECOND, 1);
  accounting.childExited(9 * SECOND, 'handed_over');
  accounting.childStarting(9 * SECOND);
  assert.equal(accounting.state, 'tracing');
  accounting.ready(4 * SECOND);
  accounting.event('export', 8 * SECOND);
  accounting.heartbeat(8 * SECOND, 1);
  accounting.tick(12 * SECOND);
  assert.equal(accounting.blindSeconds, 0);
  assert.deepEqual(
    [accounting.eventsEmitted, accounting.eventsReceived, accounting.eventsUnaccounted],
    [2, 2, 0],
  );
  assert.equal(accounting.restarts.handed_over, 1);
  assert.equal(accounting.lastLossAt, SECOND);
});

test('an exit at the end of a stream is not a restart', () => {
  const accounting = running();
  accounting.heartbeat(2 * SECOND, 0);
  accounting.childExited(3 * SECOND, 'stopped');
  assert.equal(accounting.restarts.stopped, 0);
  assert.equal(accounting.blindSeconds, 0);
});

test('events that arrive before the next heartbeat are not lost', () => {
  const accounting = running();
  events(accounting, 8, SECOND);
  accounting.heartbeat(2 * SECOND, 10);
  assert.equal(accounting.eventsUnaccounted, 2);
  events(accounting, 2, 2 * SECOND);
  accounting.heartbeat(3 * SECOND, 10);
  assert.equal(accounting.eventsUnaccounted, 0);
  assert.equal(accounting.losses.kernel_ring, 0);
});

test('events missing at two heartbeats in a row are lost', () => {
  const accounting = running();
  events(accounting, 8, SECOND);
  accounting.heartbeat(2 * SECOND, 10);
  assert.equal(accounting.losses.kernel_ring, 0);
  events(accounting, 3, 2 * SECOND);
  accounting.heartbeat(3 * SECOND, 14);
  assert.equal(accounting.losses.kernel_ring, 2);
  assert.equal(accounting.eventsUnaccounted, 1);
  assert.equal(accounting.lastLossAt, 3 * SECOND);
});

test('events that were counted as lost are no longer unaccounted', () => {
  const accounting = running();
  events(accounting, 8, SECOND);
  accounting.heartbeat(2 * SECOND, 10);
  accounting.heartbeat(3 * SECOND, 10);
  assert.deepEqual([accounting.losses.kernel_ring, accounting.eventsUnaccounted], [2, 0]);
  events(accounting, 1, 3 * SECOND);
  accounting.heartbeat(4 * SECOND, 12);
  assert.deepEqual([accounting.losses.kernel_ring, accounting.eventsUnaccounted], [2, 1]);
});

test('events that are missing when a child exits are lost, and the next child starts with none missing', () => {
  for (const reason of ['crashed', 'handed_over'] as const) {
    const accounting = running();
    accounting.heartbeat(2 * SECOND, 5);
    events(accounting, 2, 2 * SECOND);
    assert.equal(accounting.eventsUnaccounted, 5);
    accounting.childExited(3 * SECOND, reason);
    assert.deepEqual([accounting.losses.kernel_ring, accounting.eventsUnaccounted], [3, 0]);
    assert.equal(accounting.lastLossAt, 3 * SECOND);
    accounting.childStarting(3 * SECOND);
    accounting.ready(4 * SECOND);
    accounting.heartbeat(5 * SECOND, 0);
    assert.deepEqual([accounting.losses.kernel_ring, accounting.eventsUnaccounted], [3, 0]);
  }
});

test('events after the last heartbeat of a child do not hide a loss', () => {
  const accounting = running();
  accounting.heartbeat(2 * SECOND, 5);
  accounting.heartbeat(3 * SECOND, 5);
  events(accounting, 50, 3 * SECOND);
  accounting.childExited(4 * SECOND, 'crashed');
  accounting.childStarting(5 * SECOND);
  accounting.ready(6 * SECOND);
  events(accounting, 9, 6 * SECOND);
  accounting.heartbeat(7 * SECOND, 2);
  assert.equal(accounting.eventsEmitted, 7);
  assert.equal(accounting.losses.kernel_ring, 5);
});

test('lines that arrive after the exit of their child do not start a child', () => {
  const accounting = running();
  accounting.childExited(2 * SECOND, 'hung');
  events(accounting, 1, 2 * SECOND);
  accounting.heartbeat(2 * SECOND, 4);
  assert.equal(accounting.state, 'blind');
  accounting.childStarting(3 * SECOND);
  assert.equal(accounting.restarts.hung, 1);
  assert.equal(accounting.eventsReceived, 1);
});

test('a stream that starts in a running child counts no earlier loss', () => {
  const accounting = new Accounting();
  accounting.childStarting(0);
  events(accounting, 2, SECOND);
  accounting.heartbeat(SECOND, 1000);
  accounting.heartbeat(2 * SECOND, 1001);
  assert.equal(accounting.eventsUnaccounted, 1);
  assert.equal(accounting.eventsEmitted, 3);
  assert.equal(accounting.losses.kernel_ring, 0);
  assert.equal(accounting.state, 'tracing');
});

test('events that the collector dropped are not counted as lost in the kernel ring', () => {
  const accounting = running();
  accounting.heartbeat(2 * SECOND, 6);
  accounting.loss({ t: 2 * SECOND, stage: 'queue', count: 4 });
  accounting.heartbeat(3 * SECOND, 6);
  assert.equal(accounting.eventsUnaccounted, 0);
  assert.deepEqual(accounting.losses, {
    kernel_ring: 2,
    splitter: 0,
    queue: 4,
    relay: 0,
    probe_missed: 0,
    map_full: 0,
    handover: 0,
  });
});

test('an event that cannot be decoded is not counted as lost in the kernel ring', () => {
  const accounting = running();
  accounting.decodeFailure('bad_fields');
  accounting.heartbeat(2 * SECOND, 1);
  accounting.heartbeat(3 * SECOND, 1);
  assert.equal(accounting.losses.kernel_ring, 0);
  assert.equal(accounting.decodeErrors.bad_fields, 1);
});

test('losses of a collector that restarts at zero are added', () => {
  const accounting = running();
  accounting.loss({ t: 1, stage: 'queue', count: 4 });
  accounting.loss({ t: 2, stage: 'queue', count: 6 });
  accounting.loss({ t: 3, stage: 'queue', count: 1 });
  assert.equal(accounting.losses.queue, 7);
});

test('a full map that bpftrace and the collector both report is counted once', () => {
  const accounting = running();
  for (let index = 0; index < 3; index += 1) accounting.helperError(true);
  accounting.loss({ t: 1, stage: 'map_full', count: 2 });
  assert.equal(accounting.losses.map_full, 3);
  assert.equal(accounting.helperErrors, 3);
});

const read = fc.record({ lines: fc.nat(5), lost: fc.nat(1), endLost: fc.boolean() });

test('a counter read is complete if no line was lost since the last read end that arrived', () => {
  fc.assert(
    fc.property(fc.array(read), (reads) => {
      const accounting = running();
      let printed = 0;
      let lostSinceEnd = 0;
      let expected: number | null = null;
      reads.forEach(({ lines, lost, endLost }, index) => {
        const t = (2 + index) * SECOND;
        accounting.heartbeat(t, 0);
        const missing = Math.min(lines, lost);
        for (let line = 0; line < lines - missing; line += 1) accounting.counterLine();
        printed += lines;
        lostSinceEnd += missing;
        if (endLost) return;
        accounting.readEnd(t, printed);
        if (lostSinceEnd === 0) expected = t;
        lostSinceEnd = 0;
        assert.equal(accounting.lastReadAt, expected);
      });
    }),
  );
});

const step = fc.oneof(
  fc.record({ op: fc.constantFrom('starting', 'ready', 'tick', 'exited', 'unavailable'), n: fc.constant(0) }),
  fc.record({
    op: fc.constantFrom('beat', 'events', 'loss', 'counters', 'read', 'changed', 'dead', 'handed_over'),
    n: fc.nat(20),
  }),
);

test('for any stream no counter decreases and none is negative', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const accounting = new Accounting();
      let before = [0, 0, 0, 0, 0, 0, 0, 0, 0];
      steps.forEach(({ op, n }, index) => {
        const t = index * SECOND;
        if (op === 'starting') accounting.childStarting(t);
        else if (op === 'ready') accounting.ready(t);
        else if (op === 'tick') accounting.tick(t);
        else if (op === 'exited') accounting.childExited(t, 'crashed');
        else if (op === 'unavailable') accounting.childUnavailable(t, 'no_btf');
        else if (op === 'beat') accounting.heartbeat(t, n);
        else if (op === 'events') events(accounting, n, t);
        else if (op === 'counters') for (let line = 0; line < n; line += 1) accounting.counterLine();
        else if (op === 'read') accounting.readEnd(t, n);
        else if (op === 'changed') accounting.probesChanged(t, ['a'], Math.max(0, t - n * SECOND));
        else if (op === 'dead') accounting.childExited(t, 'stopped', Math.max(0, t - n * SECOND));
        else if (op === 'handed_over') {
          accounting.childExited(t, 'handed_over');
          accounting.childStarting(t);
        } else accounting.loss({ t, stage: 'queue', count: n });
        const { losses } = accounting;
        const now = [
          accounting.blindSeconds,
          accounting.eventsReceived,
          accounting.eventsEmitted,
          losses.kernel_ring,
          losses.queue,
          accounting.generation,
          accounting.lastReadAt ?? 0,
          accounting.lastLossAt,
          accounting.probeBlindSeconds('a'),
        ];
        for (const seconds of [accounting.blindSeconds, accounting.probeBlindSeconds('a')])
          assert.ok(seconds <= index, `${seconds} s blind in ${index} s: some time was counted twice`);
        now.forEach((value, place) => {
          assert.ok(
            value >= (before[place] ?? 0),
            `counter ${place} went from ${before[place]} to ${value} at ${op}`,
          );
        });
        assert.ok(accounting.eventsUnaccounted >= 0);
        before = now;
      });
    }),
    { numRuns: 500 },
  );
});
