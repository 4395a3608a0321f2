import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bufferColumns, incidentColumns, rejectionColumns } from '../../src/cli/watch/rows.ts';
import type { BufferView } from '../../src/contract/buffers.ts';
import { age, bytes, clock, count, duration, words } from '../../src/contract/format.ts';
import type { Incident } from '../../src/contract/incidents.ts';
import { isRejection } from '../../src/contract/rejection.ts';
import { topologyOf } from '../../src/model/topology.ts';
import { describe } from '../../web/data/event-description.ts';
import { layoutTopology } from '../../web/topology/topology-layout.ts';
import { feed } from '../fixtures/feed.ts';
import { collectorLine, exported, HEADER, imported, ready, starting } from '../fixtures/stream-lines.ts';

const SECOND = 1_000_000;
const { model, events } = feed([
  HEADER,
  starting(SECOND, 1),
  ready(SECOND + 1),
  collectorLine('process', {
    t: SECOND + 2,
    pid: 101,
    start_ticks: 1,
    comm: 'qemu-system-x86',
    vmm: 'qemu',
    name: 'web-1',
    uuid: null,
  }),
  exported({ t: 2 * SECOND, pid: 101, kvm_pid: 101, inode: 1, bytes: 150.5 * 2 ** 20 }),
  imported({
    t: 3 * SECOND,
    inode: 1,
    stage: 'attach',
    importer: 'vgem',
    errno: 95,
    reason: 'no_peer_to_peer',
  }),
]);
const [buffer] = model.buffers() as [BufferView];

function column<Row>(columns: readonly { title: string; text(row: Row): string }[], title: string, row: Row) {
  return columns.find((one) => one.title === title)?.text(row);
}

test('page and terminal show the same size, VM and importer', () => {
  const terminal = (title: string) => column(bufferColumns(0), title, buffer);
  const page = layoutTopology(topologyOf(model.aliveStates(), 100), new Map(), 1000);
  const drawn = page.boxes.map(({ full }) => full).join('\n');
  assert.equal(terminal('SIZE'), '150.5 MiB');
  assert.match(drawn, /150\.5 MiB/);
  const [exportEvent, rejection] = events.filter(({ kind }) => kind === 'export' || kind === 'import');
  assert.ok(exportEvent !== undefined && rejection !== undefined && isRejection(rejection));
  assert.equal(describe(exportEvent).title, 'Exported 150.5 MiB of BAR 2');
  assert.equal(terminal('VM'), 'web-1');
  assert.deepEqual(
    page.groups.map(({ full }) => full),
    ['VM web-1'],
  );
  const attachments = [
    {
      ...ATTACHMENT,
      importer_device: '0000:81:00.0',
      importer_interface: 'mlx5_0',
      count: 2,
      route: 'iommu' as const,
    },
    { ...ATTACHMENT, importer: 'vgem', importer_device: 'vgem', mapped: false },
  ];
  assert.equal(
    column(bufferColumns(0), 'IMPORTERS', { ...buffer, attachments, attachment_count: 4 }),
    'mlx5_core (mlx5_0) × 2, through the IOMMU; vgem, not mapped; 1 unnamed',
  );
});

const ATTACHMENT: BufferView['attachments'][number] = {
  importer: 'mlx5_core',
  importer_device: '',
  importer_interface: null,
  count: 1,
  mapped: true,
  route: 'unknown',
  since: '2026-01-01T00:00:00Z',
  task: null,
  by_vm: null,
};

test('the terminal shows an ended owner, a lower bound and unknown values', () => {
  const shown = (title: string, change: Partial<BufferView>) =>
    column(bufferColumns(Date.parse('2026-01-02T01:00:00Z')), title, { ...buffer, ...change });
  const owner = { pid: 7, comm: 'qemu' };
  assert.equal(shown('OWNER', { owner: { ...owner, gone: false } }), 'qemu (7)');
  assert.equal(shown('OWNER', { owner: { ...owner, gone: true } }), 'qemu (7), ended');
  assert.equal(shown('OWNER', { owner: null }), '–');
  assert.equal(shown('AGE', { exported_at: '2026-01-01T00:00:00Z' }), '1 d 1 h');
  const preexisting = { preexisting: true, exported_at: null, changed_at: '2026-01-02T00:00:00Z' };
  assert.equal(shown('AGE', preexisting), '≥ 1 h');
});

test('a time has its day if it is not today', () => {
  const now = Date.parse('2026-01-02T10:00:00Z');
  assert.equal(clock('2026-01-02T09:08:07Z', now, 'UTC'), '09:08:07');
  assert.equal(clock('2026-01-01T09:08:07Z', now, 'UTC'), '1 Jan 09:08:07');
  assert.equal(clock('2025-01-02T09:08:07Z', now, 'UTC'), '2 Jan 09:08:07', 'the same day of another year');
  assert.equal(clock('not a time', now, 'UTC'), '?');
  const local = new Date(2026, 0, 2, 9, 8, 7).getTime();
  assert.equal(clock(local, new Date(2026, 0, 2, 10).getTime()), '09:08:07');
  const time = '2026-01-01T09:08:07Z';
  const rejected = { ...events.find(isRejection), time } as Parameters<typeof isRejection>[0];
  assert.ok(isRejection(rejected));
  assert.equal(column(rejectionColumns(new Map(), now), 'TIME', rejected), '1 Jan 09:08:07');
  assert.equal(column(incidentColumns(now), 'SINCE', { since: time } as Incident), '1 Jan 09:08:07');
});

test('sizes have one decimal unless it is 0', () => {
  const sizes = [0, 1023, 4096, 1536, 3 << 20, 150.5 * 2 ** 20, 150.04 * 2 ** 20, 2 ** 41, 2 ** 61];
  assert.deepEqual(sizes.map(bytes), [
    '0 B',
    '1023 B',
    '4 KiB',
    '1.5 KiB',
    '3 MiB',
    '150.5 MiB',
    '150 MiB',
    '2 TiB',
    '2048 PiB',
  ]);
});

test('ages and durations have readable units', () => {
  const ages = [-5, 59_999, 60_000, 3_600_000, 5_400_000, 86_400_000, 180_000_000, Number.NaN];
  assert.deepEqual(ages.map(age), ['0 s', '59 s', '1 min', '1 h', '1 h 30 min', '1 d', '2 d 2 h', '?']);
  assert.deepEqual([5e-7, 2e-5, 0.0015, 0.25, 1.5, 12].map(duration), [
    '1 µs',
    '20 µs',
    '1.5 ms',
    '250 ms',
    '1.50 s',
    '12.0 s',
  ]);
});

test('a number has separators, and a name of the API is shown as words', () => {
  assert.deepEqual(
    [count(1, 'call'), count(1200, 'call'), count(2, 'more', 'more')],
    ['1 call', '1,200 calls', '2 more'],
  );
  assert.equal(words('revoke_waiting'), 'revoke waiting');
});
