import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ReadinessInput, readinessOf } from '../../src/http/readiness.ts';

const tracing: ReadinessInput = {
  status: { state: 'tracing', source: { kind: 'live', name: 'bpftrace' }, problem: null },
  counterAgeUs: 500_000,
  staleAfterS: 10,
  replayed: false,
  stopping: false,
};
function live(state: ReadinessInput['status']['state'], problem: ReadinessInput['status']['problem'] = null) {
  return {
    ...tracing,
    status: { ...tracing.status, state, problem },
  };
}
const replay = {
  ...tracing,
  status: { ...tracing.status, source: { kind: 'replay' as const, name: 'x.gz' } },
};
const problem = { reason: 'no_btf' as const, message: 'no BTF\n  here', remedy: null };

for (const [name, input, why] of [
  ['counters that were read recently', tracing, null],
  ['counters at the age limit', { ...tracing, counterAgeUs: 10_000_000 }, null],
  ['counters beyond the age limit', { ...tracing, counterAgeUs: 10_100_000 }, /last read 10\.1 s ago/],
  ['counters that were never read', { ...tracing, counterAgeUs: null }, /have not been read/],
  ['a stream without a line', live('waiting'), /waiting/],
  ['a child that starts', live('starting'), /starting/],
  ['a child that exited', live('blind', problem), /^bpftrace does not run: no BTF here; it will/],
  ['a host that cannot be traced', live('unavailable', problem), /cannot be traced: no BTF here$/],
  ['a stop in progress', { ...tracing, stopping: true }, /stopping/],
  ['a replay in progress', replay, /still being read/],
  ['a replay at its end, at any age', { ...replay, replayed: true, counterAgeUs: 9e15 }, null],
] as const) {
  test(`the daemon is ${why === null ? 'ready' : 'not ready, with a reason in one line,'} for ${name}`, () => {
    const readiness = readinessOf(input);
    assert.equal(readiness.ready, why === null);
    if (!readiness.ready) {
      assert.match(readiness.why, why ?? /^$/);
      assert.doesNotMatch(readiness.why, /\n/);
    }
  });
}
