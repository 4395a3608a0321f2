import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type OutputFilter, outputMatcher } from '../../src/sinks/output-filter.ts';
import { feed } from '../fixtures/feed.ts';
import { PRIVATE_VM } from '../fixtures/golden/private-vm.ts';

const { events } = feed(PRIVATE_VM);

function passing(filter: Partial<OutputFilter>) {
  return events.filter(outputMatcher({ kinds: [], results: [], devices: [], ...filter }));
}

test('without a filter all events pass; each value of a list adds events, and each list removes some', () => {
  assert.equal(passing({}).length, events.length);
  const kinds = passing({ kinds: ['export', 'incident'] });
  assert.deepEqual([...new Set(kinds.map(({ kind }) => kind))].sort(), ['export', 'incident']);
  const failed = passing({ results: ['failed'] });
  assert.ok(failed.length > 0 && failed.every((event) => 'errno' in event && event.errno !== 0));
  const both = passing({ results: ['ok', 'failed'] });
  assert.ok(both.length > failed.length && both.length < events.length);
  assert.ok(both.every((event) => 'errno' in event));
  assert.ok(passing({ kinds: ['export'], results: ['failed'] }).length < failed.length);
});

test('a device is found by each way to write its address', () => {
  const ofDevice = events.filter(({ device }) => device === '0000:41:00.0');
  assert.ok(ofDevice.length > 0 && ofDevice.length < events.length);
  for (const address of ['0000:41:00.0', '41:00.0', '00000000:41:00.0'])
    assert.deepEqual(passing({ devices: [address] }), ofDevice);
  assert.deepEqual(passing({ devices: ['41:00.0', 'ffff:00:00.0'] }), ofDevice);
});
