import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TracerEvent } from '../../src/contract/events.ts';
import { EventLog } from '../../src/sinks/event-log.ts';

function event(seq: number): TracerEvent {
  return { seq, time: '', boot_us: seq, pid: 1, comm: 'c', kind: 'release', device: 'd', inode: seq };
}

function filled(keep: number, count: number): EventLog {
  const log = new EventLog({ keep, id: 'x' });
  for (let seq = 1; seq <= count; seq++) log.append(event(seq));
  return log;
}

function seqs(page: { events: TracerEvent[] }) {
  return page.events.map(({ seq }) => seq);
}

test('an empty log returns no events and has dropped none', () => {
  const log = filled(3, 0);
  assert.deepEqual(log.read(0, 10), { events: [], next: 0, more: false, dropped: 0 });
  assert.deepEqual([log.oldest, log.newest, log.dropped], [1, 0, 0]);
});

test('a full log evicts the oldest events, and a read returns the number of evicted events after its cursor', () => {
  const log = filled(3, 5);
  assert.deepEqual([log.oldest, log.newest, log.dropped], [3, 5, 2]);
  const page = log.read(0, 10);
  assert.deepEqual(seqs(page), [3, 4, 5]);
  assert.equal(page.dropped, 2);
  assert.equal(log.read(1, 10).dropped, 1);
  assert.equal(log.read(2, 10).dropped, 0);
});

test('the cursor of a filtered read skips events that do not match', () => {
  const log = filled(10, 6);
  const page = log.read(0, 10, ({ seq }) => seq === 2);
  assert.deepEqual(seqs(page), [2]);
  assert.equal(page.next, 6);
  assert.equal(page.more, false);
});

test('reading page by page returns each kept event once and in order, for any sizes', () => {
  const size = fc.integer({ min: 1, max: 20 });
  fc.assert(
    fc.property(size, fc.integer({ min: 0, max: 50 }), size, (keep, count, limit) => {
      const log = filled(keep, count);
      const seen: number[] = [];
      let dropped = 0;
      let cursor = 0;
      for (let more = true; more; ) {
        const page = log.read(cursor, limit);
        seen.push(...seqs(page));
        dropped += page.dropped;
        assert.ok(page.next >= cursor);
        ({ next: cursor, more } = page);
      }
      assert.equal(seen.length + dropped, count);
      assert.equal(dropped, log.dropped);
      assert.deepEqual(
        seen,
        Array.from(
          { length: Math.min(keep, count) },
          (_, index) => count - Math.min(keep, count) + index + 1,
        ),
      );
    }),
  );
});

test('an event whose seq does not follow the last one is an error', () => {
  const log = filled(3, 2);
  assert.throws(() => log.append(event(4)), /does not follow/);
});

test('a listener is called for each event until it unsubscribes', () => {
  const log = filled(3, 0);
  let calls = 0;
  const unsubscribe = log.onAppend(() => {
    calls += 1;
  });
  log.append(event(1));
  unsubscribe();
  log.append(event(2));
  assert.equal(calls, 1);
});
