import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BufferView } from '../../src/contract/buffers.ts';
import { lossSentences } from '../../src/contract/texts.ts';
import { type VerdictInput, verdictOf } from '../../src/contract/verdict.ts';
import type { Incidents, Status } from '../../web/data/types.ts';
import { busyHost } from '../fixtures/busy-host.ts';
import { feed } from '../fixtures/feed.ts';

const { model } = feed([...busyHost()]);
const LIVE = { kind: 'live', name: 'bpftrace' } as const;
const STATUS: Status = { ...model.status(), source: LIVE, not_ready: null };
const REPLAY = { kind: 'replay', name: 'a.ndjson' } as const;

function incidents(...severities: ('info' | 'warning' | 'critical')[]): Incidents {
  return {
    total: severities.length,
    open: severities.length,
    not_detected: [],
    not_applicable: [],
    blind_to: [],
    folded: 0,
    kinds: {},
    incidents: severities.map((severity, index) => ({
      id: index + 1,
      kind: 'orphaned',
      severity,
      state: 'open',
      sentence: `${severity} ${index}.`,
      device: '0000:41:00.0',
      inode: null,
      vm: null,
      importers: [],
      holders: [],
      count: 1,
      since: STATUS.now,
      opened_at: STATUS.now,
      closed_at: null,
      closed_by: null,
      waited_seconds: null,
      exact: true,
    })),
  };
}

function closed(...severities: Parameters<typeof incidents>): Incidents {
  const all = incidents(...severities);
  for (const incident of all.incidents) incident.state = 'closed';
  return all;
}
function verdict(
  change: Partial<Status>,
  known: VerdictInput['incidents'] = incidents(),
  buffers: readonly BufferView[] | null = [],
) {
  return verdictOf({ status: { ...STATUS, ...change }, incidents: known, buffers });
}

test('the verdict is the most severe level that applies, and a host with losses is never safe', () => {
  const level = (...input: Parameters<typeof verdict>) => verdict(...input).level;
  assert.equal(level({}), 'safe');
  assert.equal(level({}, incidents('info')), 'safe');
  assert.equal(level({}, incidents('info', 'warning')), 'attention');
  assert.equal(level({}, incidents('warning', 'critical')), 'critical');
  assert.equal(level({ losses: { kernel_ring: 1 } }), 'attention');
  assert.equal(level({ decode_errors: 1 }), 'attention');
  assert.equal(level({ missed_returns: 1 }), 'attention');
  assert.equal(level({ buffer_state_exact: false }), 'attention');
  assert.equal(level({ not_ready: 'bpftrace is starting', state: 'starting' }), 'not-ready');
  assert.equal(level({ not_ready: 'bpftrace does not run', state: 'blind' }), 'blind');
  assert.equal(level({ state: 'unavailable', not_ready: 'this host cannot be traced' }), 'blind');
});

test('a critical incident is shown after its end and on a blind host', () => {
  assert.equal(verdict({}, closed('critical')).level, 'critical');
  assert.equal(verdict({}, closed('warning')).level, 'safe');
  for (const known of [incidents('critical'), closed('critical')]) {
    const { level, why } = verdict({ state: 'blind', not_ready: 'bpftrace does not run' }, known);
    assert.equal(level, 'critical');
    assert.deepEqual(why, ['critical 0.', 'Nothing is traced now: bpftrace does not run.']);
  }
  const many = verdict({}, closed('critical', 'critical', 'critical', 'critical', 'critical'));
  assert.deepEqual(many.why, ['5 incidents are closed: 5 × orphaned. The newest:', 'critical 0.']);
});

test('the end of a recording is not a blind host, but a recording of a host that could not be traced is', () => {
  const ended = { source: REPLAY, state: 'blind', problem: null, buffer_state_exact: false } as const;
  assert.equal(verdict(ended).level, 'safe');
  assert.equal(verdict({ ...ended, source: LIVE }).level, 'blind');
  const killed = { ...ended, problem: { reason: 'killed', message: 'killed', remedy: null } } as const;
  assert.deepEqual([verdict(killed).level, verdict(killed).why[1]], ['blind', 'killed.']);
  assert.equal(verdict({ ...ended, state: 'unavailable' }).level, 'blind');
});

test('the reasons of a verdict begin with the most severe one, and many incidents are grouped by kind', () => {
  assert.deepEqual(verdict({}, incidents('warning', 'critical')).why, ['critical 1.', 'warning 0.']);
  assert.deepEqual(verdict({}, incidents('warning', 'warning', 'warning', 'warning')).why, [
    '4 incidents are open: 4 × orphaned. The newest:',
    'warning 0.',
  ]);
  assert.deepEqual(lossSentences({ ...STATUS, losses: { kernel_ring: 2, queue: 0, map_full: 1 } }), [
    '3 events or counts were lost (kernel ring 2, map full 1): some activity may be missing here.',
  ]);
});

test('the reason of a safe verdict depends on the dialect and on the known buffers', () => {
  const first = (dialect: Status['dialect'], buffers: readonly BufferView[] | null) =>
    verdict({ dialect }, incidents(), buffers).why[0];
  assert.match(first('private-v1', model.buffers()), /^3 private exports: none/);
  assert.match(first('private-v1', []), /^No private device memory is exported/);
  assert.equal(first('private-v1', null), 'There is no open incident.');
  assert.match(first('private-v2', []), /do not declare whether they are private/);
  assert.match(first('mainline', []), /no private exports/);
});

test('a host is not safe from incidents whose probes are not attached', () => {
  const blind_to: Incidents['blind_to'] = [
    { kind: 'foreign_vm', probes: ['bind', 'private_read'] },
    { kind: 'private_offered', probes: ['attach'] },
  ];
  const { level, why } = verdict({}, { ...incidents(), blind_to }, model.buffers());
  assert.equal(level, 'attention');
  assert.match(why[0], /foreign vm, private offered.*bind, private_read, attach are not attached/);
  assert.equal(verdict({}, { ...incidents('critical'), blind_to }).level, 'critical');
});
