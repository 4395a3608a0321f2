import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { INCIDENT_KINDS } from '../../src/contract/incidents.ts';
import { PRIVACIES } from '../../src/protocol/codes.ts';
import { feed } from '../fixtures/feed.ts';
import {
  bound,
  bufferState,
  collectorLine,
  detached,
  exported,
  HEADER,
  heartbeat,
  imported,
  processExit,
  ready,
  released,
  revokeCall,
  snapshot,
  snapshotBuffer,
  starting,
  unbound,
  unmapped,
} from '../fixtures/stream-lines.ts';

const S = 1_000_000;
const BEGIN = [HEADER, starting(S, 1), ready(2 * S)];
/** The most by which events of two processors arrive out of order, in microseconds. */
const SKEW_US = 100;

interface Line {
  t: number;
  line: string;
}

const inode = fc.integer({ min: 1, max: 3 });
const importer = fc.constantFrom('mlx5_core', 'iommu', 'kvm');
const errno = fc.constantFrom(0, 0, 95);

/** Makes one line of any kind for its time. */
const step: fc.Arbitrary<(t: number) => string> = fc.oneof(
  fc
    .record({
      inode,
      privacy: fc.constantFrom(...PRIVACIES),
      born_revoked: fc.boolean(),
      vm: fc.constantFrom(0, 200),
    })
    .map(
      ({ vm, ...fields }) =>
        (t: number) =>
          exported({ t, ...fields, kvm_pid: vm, vm_type: 'snp' }),
    ),
  inode.map((one) => (t: number) => released(t, one)),
  fc
    .record({ inode, importer, errno, stage: fc.constantFrom('attach', 'map', 'iommufd') })
    .map((fields) => (t: number) => imported({ t, ...fields })),
  fc.tuple(inode, importer).map(
    ([one, who]) =>
      (t: number) =>
        unmapped(t, one, who),
  ),
  fc.tuple(inode, importer).map(
    ([one, who]) =>
      (t: number) =>
        detached(t, one, who),
  ),
  fc.tuple(inode, fc.boolean()).map(
    ([one, revoked]) =>
      (t: number) =>
        bufferState(t, one, revoked),
  ),
  fc.tuple(fc.integer({ min: 0, max: 5 * S }), fc.boolean()).map(
    ([us, revoked]) =>
      (t: number) =>
        revokeCall({ t, us, revoked }),
  ),
  fc.tuple(inode, fc.constantFrom('none', 'foreign_vm', 'accepted_not_vfio'), fc.constantFrom(200, 300)).map(
    ([one, violation, vm]) =>
      (t: number) =>
        bound({ t, inode: one, vm, violation }),
  ),
  fc.tuple(inode, fc.constantFrom(200, 300)).map(
    ([one, vm]) =>
      (t: number) =>
        unbound({ t, inode: one, vm }),
  ),
  fc.constantFrom(100, 300).map((pid) => (t: number) => processExit(t, pid)),
  fc.uniqueArray(inode).map(
    (seen) => (t: number) =>
      snapshot(
        t,
        seen.map((one) => snapshotBuffer({ inode: one, attachments: one % 2, revoked: one === 3 })),
      ),
  ),
  fc
    .integer({ min: 1, max: 9 })
    .map((count) => (t: number) => collectorLine('loss', { t, stage: 'queue', count })),
  fc.constant((t: number) => heartbeat(t)),
);

/** Lines with gaps from microseconds to minutes, in their order of arrival. */
const stream: fc.Arbitrary<Line[]> = fc
  .array(
    fc.record({
      step,
      gap: fc.oneof(fc.integer({ min: 0, max: 60 }), fc.constantFrom(2 * S, 12 * S, 320 * S)),
      skew: fc.integer({ min: 0, max: SKEW_US }),
    }),
    { minLength: 1, maxLength: 60 },
  )
  .map((parts) => {
    let t = 3 * S;
    return parts
      .map(({ step: line, gap, skew }) => {
        t += gap;
        return { t, arrives: t + skew, line: line(t) };
      })
      .sort((a, b) => a.arrives - b.arrives);
  });

test('for any lines, up to 100 us out of order, no count is negative and every incident is open or closed', () => {
  fc.assert(
    fc.property(stream, (lines) => {
      const limits = { open: 3, closed: 5 };
      const { model, more } = feed(BEGIN, { incidents: limits });
      const opened = { opened: 0, closed: 0 };
      for (const { line } of lines) {
        for (const event of more(line)) if (event.kind === 'incident') opened[event.change] += 1;
        for (const buffer of model.buffers()) {
          assert.ok(buffer.attachment_count >= 0 && buffer.lost_mappings >= 0);
          assert.ok(buffer.attachments.every(({ count }) => count >= 1));
        }
      }
      const counts = INCIDENT_KINDS.map((kind) => model.incidents.counts(kind));
      assert.ok(counts.every(({ open }) => open >= 0 && open <= limits.open));
      const sum = (part: 'open' | 'opened') => counts.reduce((total, count) => total + count[part], 0);
      assert.equal(sum('opened'), opened.opened);
      assert.equal(sum('open') + opened.closed, opened.opened);
      const shown = model.incidents.all();
      assert.equal(shown.filter(({ state }) => state === 'open').length, sum('open'));
      assert.ok(shown.length - sum('open') <= limits.closed);
      const alive = new Set(
        model.buffers().flatMap(({ inode: one, state }) => (state === 'released' ? [] : [one])),
      );
      for (const incident of shown) {
        assert.ok(incident.opened_at <= (incident.closed_at ?? incident.opened_at), incident.sentence);
        const bind = incident.kind === 'foreign_vm' || incident.kind === 'accepted_not_vfio';
        if (incident.state === 'open' && incident.inode !== null && !bind)
          assert.ok(alive.has(incident.inode));
      }
    }),
    { numRuns: 400 },
  );
});

test('the number of incidents does not depend on the order of the lines', () => {
  const t = 4 * S;
  const lines = [
    exported({ t, inode: 9, privacy: 'private', born_revoked: true }),
    bufferState(t + 1, 9, false),
    imported({
      t: t + 2,
      inode: 9,
      stage: 'attach',
      importer: 'mlx5_core',
      errno: 95,
      reason: 'no_peer_to_peer',
    }),
    imported({ t: t + 3, inode: 9, stage: 'attach', importer: 'iommu' }),
    imported({ t: t + 4, inode: 9, stage: 'iommufd', importer: 'iommu' }),
    bufferState(t + 5, 9, true),
    revokeCall({ t: t + 6, us: 2 }),
    bound({ t: t + 7, inode: 9, vm: 300, violation: 'foreign_vm' }),
    unbound({ t: t + 8, inode: 9, vm: 300 }),
  ];
  const counts = (order: readonly string[]) => {
    const { model } = feed([...BEGIN, ...order, released(5 * S, 9), heartbeat(400 * S)]);
    return INCIDENT_KINDS.map((kind) => [kind, model.incidents.counts(kind)] as const);
  };
  const expected = counts(lines);
  assert.deepEqual(
    expected.flatMap(([kind, { opened }]) => (opened > 0 ? [[kind, opened]] : [])),
    [
      ['mappings_lost', 1],
      ['born_revoked', 1],
      ['private_without_vm', 1],
      ['private_offered', 2],
      ['foreign_vm', 1],
    ],
  );
  fc.assert(
    fc.property(fc.shuffledSubarray(lines, { minLength: lines.length }), (order) => {
      assert.deepEqual(counts(order), expected);
    }),
    { numRuns: 300 },
  );
});
