import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { DroppedLine } from '../../src/contract/event-output.ts';
import { OutputQueue } from '../../src/sinks/output-queue.ts';
import { release } from './events.ts';

type Line = { seq: number; kind: 'release' } | DroppedLine;

function linesIn(bytes: Buffer): Line[] {
  return bytes
    .toString()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
}

test('each event is in one line, or counted by the line in its place, for any limit and order of calls', () => {
  const calls = fc.array(fc.oneof(fc.integer({ min: 1, max: 30 }), fc.constantFrom('take', 'release')));
  fc.assert(
    fc.property(calls, fc.integer({ min: 0, max: 3000 }), (steps, maxBytes) => {
      const queue = new OutputQueue({ log: 'x', maxBytes });
      const lines: Line[] = [];
      let pushed = 0;
      let taken = false;
      const take = () => {
        const batch = queue.take();
        taken = batch !== null;
        if (batch !== null) lines.push(...linesIn(batch.bytes));
        return taken;
      };
      const done = () => {
        queue.release();
        taken = false;
      };
      for (const step of steps) {
        if (step === 'take' && !taken) take();
        else if (step === 'release' && taken) done();
        else if (typeof step === 'number') {
          // With names of several lengths: a short line can have room where a long one had none.
          for (let index = 0; index < step; index++)
            queue.push(release(++pushed, 'c'.repeat((pushed % 5) * 100)));
        }
      }
      if (taken) done();
      while (take()) done();
      let next = 1;
      let dropped = 0;
      for (const line of lines) {
        const [from, to] = line.kind === 'dropped' ? [line.from_seq, line.to_seq] : [line.seq, line.seq];
        assert.equal(from, next);
        if (line.kind === 'dropped') {
          assert.equal(line.count, to - from + 1);
          dropped += line.count;
        }
        next = to + 1;
      }
      // A limit of fewer bytes than a line lets nothing pass.
      if (maxBytes > 600) assert.deepEqual([next - 1, queue.dropped], [pushed, dropped]);
      else assert.ok(next - 1 <= pushed);
    }),
  );
});

test('a batch has at most 64 KiB, and a longer line has a batch of its own', () => {
  const queue = new OutputQueue({ log: 'x', maxBytes: 10_000_000 });
  for (let seq = 1; seq <= 2000; seq++) queue.push(release(seq, seq === 1000 ? 'c'.repeat(70_000) : 'c'));
  const sizes: number[] = [];
  for (let batch = queue.take(); batch !== null; batch = queue.take()) {
    sizes.push(batch.bytes.length);
    queue.release();
  }
  assert.ok(sizes.length >= 4);
  assert.deepEqual(
    sizes.filter((size) => size > 65_536).map((size) => Math.round(size / 10_000)),
    [7],
  );
  assert.equal(queue.events, 0);
});

test('a line about dropped events counts those that were pushed, not those that a filter has left out', () => {
  const queue = new OutputQueue({ log: 'x', maxBytes: 200 });
  queue.push(release(1));
  for (const seq of [10, 20, 30]) queue.push(release(seq));
  queue.take();
  queue.release();
  const batch = queue.take();
  assert.ok(batch !== null);
  assert.deepEqual(linesIn(batch.bytes), [
    { log: 'x', time: 't30', kind: 'dropped', from_seq: 10, to_seq: 30, count: 3 },
  ]);
});

test('a name with characters that a terminal interprets is escaped, and has the same value', () => {
  const queue = new OutputQueue({ log: 'x', maxBytes: 1000 });
  const comm = 'a\u202eb\u009bc\n';
  queue.push(release(1, comm));
  const text = queue.take()?.bytes.toString() ?? '';
  assert.match(text, /"comm":"a\\u202eb\\u009bc\\n"/);
  assert.equal((JSON.parse(text) as { comm: string }).comm, comm);
});
