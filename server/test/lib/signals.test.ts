import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { onHangup, stopOnSignals } from '../../src/lib/signals.ts';

class FakeProcess extends EventEmitter {
  exits: number[] = [];
  exit(code: number): void {
    this.exits.push(code);
  }
}

test('the first signal requests the stop, and the second ends the process with 128 + its number', () => {
  const host = new FakeProcess();
  const stop = stopOnSignals(host);
  assert.equal(stop.signal.aborted, false);
  host.emit('SIGTERM', 'SIGTERM');
  assert.equal(stop.signal.aborted, true);
  assert.equal(stop.signal.reason, 'SIGTERM');
  assert.deepEqual(host.exits, []);
  host.emit('SIGINT', 'SIGINT');
  assert.deepEqual(host.exits, [130]);
});

test('dispose removes the signal listeners', () => {
  const host = new FakeProcess();
  const stop = stopOnSignals(host);
  stop.dispose();
  assert.equal(host.listenerCount('SIGINT') + host.listenerCount('SIGTERM'), 0);
});

test('onHangup calls the listener at each SIGHUP until it is undone', () => {
  const host = new FakeProcess();
  let calls = 0;
  const undo = onHangup(host, () => {
    calls += 1;
  });
  host.emit('SIGHUP');
  host.emit('SIGHUP');
  undo();
  host.emit('SIGHUP');
  assert.equal(calls, 2);
});
