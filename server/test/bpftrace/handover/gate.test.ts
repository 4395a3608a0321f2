import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GateWatch } from '../../../src/bpftrace/handover/gate.ts';
import { decodeLine } from '../../../src/protocol/decode.ts';
import { exported, tupleLine } from '../../fixtures/stream-lines.ts';

const SECOND = 1_000_000;
const COUNTER = '{"type": "value", "data": [13,5,0,1]}';
const BAD_COUNTER = '{"type": "value", "data": [13,5,"x",1]}';

/** A gate whose program counts until second 10, and a function that returns which of these lines it takes out. */
function setUp(): { gate: GateWatch; receive: (...lines: string[]) => boolean[] } {
  const gate = new GateWatch();
  const receive = (...lines: string[]): boolean[] => lines.map((line) => gate.receive(decodeLine(line)));
  receive(tupleLine('gate', SECOND, SECOND * 1000, 0, 2 ** 62));
  return { gate, receive };
}

test('only the gate records are taken out of the stream', () => {
  const { gate, receive } = setUp();
  assert.deepEqual(gate.began, { t: SECOND, clock: SECOND * 1000 });
  const begin = tupleLine('gate', 2 * SECOND, 0, 3e9, 10e9);
  const taken = receive(begin, tupleLine('in_flight', 2 * SECOND), COUNTER, exported({ t: 3, inode: 7 }));
  assert.deepEqual(taken, [true, true, false, false]);
  assert.deepEqual([gate.from, gate.until], [3, 10]);
  assert.deepEqual(receive('{"type": "value", "data": [16,1]}', 'a warning'), [false, false]);
});

test('a read is quiet if it began after the end of counting, lost no line and found no call in flight', () => {
  const { gate, receive } = setUp();
  let printed = 0;
  const read = (second: number, ...lines: string[]): void => {
    printed += 2;
    const begin = tupleLine('gate', second * SECOND, 0, 0, 10e9);
    receive(begin, ...lines, tupleLine('read_end', second * SECOND, printed));
  };
  read(9, COUNTER, COUNTER);
  assert.equal(gate.quietReads, 0);
  read(11, COUNTER, COUNTER);
  assert.equal(gate.quietReads, 1);
  read(12, COUNTER, BAD_COUNTER);
  assert.equal(gate.quietReads, 2, 'a counter that cannot be decoded was not lost');
  read(13, COUNTER);
  assert.equal(gate.quietReads, 0);
  read(14, COUNTER, COUNTER, tupleLine('in_flight', 14 * SECOND), tupleLine('in_flight', 14 * SECOND));
  assert.deepEqual([gate.quietReads, gate.inFlight], [0, 2]);
});
