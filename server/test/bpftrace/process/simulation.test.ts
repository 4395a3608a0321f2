import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Simulation } from '../../../src/bpftrace/process/simulation.ts';
import { type Faults, readFaults } from '../../../src/lib/faults.ts';
import { streamLine } from '../../../src/protocol/stream-line.ts';
import { heartbeat, released, unmapped } from '../../fixtures/stream-lines.ts';

const BEAT = streamLine(heartbeat(1, 1));
const UNMAP = streamLine(unmapped(1, 1, 'mlx5_core'));
const RELEASE = streamLine(released(1, 1));

function faults(text: string): Faults {
  const read = readFaults(text);
  return typeof read === 'string' ? assert.fail(read) : read;
}

test('loss=10% drops a tenth of the events, always the same ones, and no other lines', () => {
  const lost = (): number[] => {
    const child = new Simulation({ faults: faults('loss=10%'), bootUs: () => 0 }).child();
    return Array.from({ length: 1000 }, (_, i) => i).filter((i) => {
      assert.deepEqual(child.pass(BEAT), [BEAT]);
      return child.pass(i % 2 === 0 ? RELEASE : UNMAP).length === 0;
    });
  };
  assert.equal(lost().length, 100);
  assert.deepEqual(lost(), lost());
  const all = new Simulation({ faults: faults('loss=100%'), bootUs: () => 0 }).child();
  assert.deepEqual(all.pass(RELEASE), []);
});

test('malformed lines are added at their rate over all children, after the next line of a child', () => {
  let now = 5_000_000;
  const simulation = new Simulation({ faults: faults('malformed=2/60s'), bootUs: () => now });
  const child = simulation.child();
  const more = (): number => child.pass(BEAT).length - 1;
  assert.equal(more(), 0);
  now += 29_000_000;
  assert.equal(more(), 0);
  now += 1_000_000;
  assert.equal(more(), 1);
  assert.equal(more(), 0);
  now += 60_000_000;
  assert.equal(simulation.child().pass(BEAT).length, 3);
});

test('crash=5m ends each child at that age, and without faults no child crashes', () => {
  let now = 0;
  const simulation = new Simulation({ faults: faults('crash=5m'), bootUs: () => now });
  const first = simulation.child();
  now = 299_999_999;
  assert.equal(first.crashes(), false);
  now = 300_000_000;
  assert.equal(first.crashes(), true);
  assert.equal(simulation.child().crashes(), false);
  assert.equal(new Simulation({ faults: faults(''), bootUs: () => now }).child().crashes(), false);
});
