import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALL_PROBES, type StartingOptions, starting } from '../fixtures/stream-lines.ts';
import { MAINLINE, T, watch } from './watch.ts';

function blindTo(options: StartingOptions) {
  return watch([], options).model.incidents.blindTo();
}

test('with all probes attached the tracer is blind to no kind', () => {
  assert.deepEqual(blindTo({}), []);
});

test('a kind that the dialect cannot have is not listed', () => {
  assert.deepEqual(blindTo(MAINLINE), [], 'a kernel without private exports has no binds');
  assert.deepEqual(blindTo({ dialect: 'private-v2', attached: ['attach', 'bind', 'private_read'] }), []);
});

test('the security-relevant kinds are listed with their missing probes, in the order of the contract', () => {
  assert.deepEqual(blindTo({ dialect: 'private-v1', attached: ['export', 'release', 'private_read'] }), [
    { kind: 'private_offered', probes: ['attach'] },
    { kind: 'foreign_vm', probes: ['bind'] },
    { kind: 'accepted_not_vfio', probes: ['bind'] },
  ]);
  assert.deepEqual(blindTo({ dialect: 'mainline', attached: ['attach'] }), [
    { kind: 'confidential_shared', probes: ['export'] },
  ]);
});

test('probes of an earlier child do not count', () => {
  const { model } = watch([starting(T, 2, { attached: ALL_PROBES.filter((probe) => probe !== 'attach') })]);
  assert.deepEqual(model.incidents.blindTo(), [{ kind: 'private_offered', probes: ['attach'] }]);
});
