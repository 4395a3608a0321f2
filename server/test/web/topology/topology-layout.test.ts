import assert from 'node:assert/strict';
import { test } from 'node:test';
import { topologyOf } from '../../../src/model/topology.ts';
import {
  crossArea,
  type Graph,
  labelArea,
  layoutTopology,
  overlap,
  shorten,
} from '../../../web/topology/topology-layout.ts';
import { OTHER_DEVICES } from '../../../web/topology/topology-rows.ts';
import { busyHost } from '../../fixtures/busy-host.ts';
import { feed } from '../../fixtures/feed.ts';
import { manyVms } from '../../fixtures/many-vms.ts';
import { exported, HEADER, imported, ready, starting } from '../../fixtures/stream-lines.ts';

function layoutOf(lines: Iterable<string>, width: number): Graph {
  return layoutTopology(
    topologyOf(feed([...lines]).model.aliveStates(), 10_000),
    new Map([['0000:41:00.0', 2]]),
    width,
  );
}

function assertTidy(layout: Graph): void {
  const { boxes, width, height } = layout;
  for (const box of boxes) {
    assert.ok(box.x >= 0 && box.x + box.width <= width, `${box.id} is beyond the left or right edge`);
    assert.ok(box.y >= 0 && box.y + box.height <= height, `${box.id} is beyond the top or bottom edge`);
    for (const other of boxes) {
      if (box.id >= other.id) continue;
      const apart =
        box.x + box.width <= other.x ||
        other.x + other.width <= box.x ||
        box.y + box.height <= other.y ||
        other.y + other.height <= box.y;
      assert.ok(apart, `${box.id} overlaps ${other.id}`);
    }
  }
  const ids = new Set(boxes.map(({ id }) => id));
  for (const { from, to, path } of layout.lines) {
    assert.ok(ids.has(from) && ids.has(to));
    assert.doesNotMatch(path, /NaN|Infinity/);
  }
}

for (const width of [330, 820, 1380]) {
  test(`boxes stay in the layout and do not overlap at a width of ${width} px`, () => {
    for (const options of [
      {},
      { vms: 1, buffers: 1, rejections: 0 },
      { vms: 3, buffers: 60 },
      { vms: 40, buffers: 400 },
    ])
      assertTidy(layoutOf(busyHost(options), width));
    assertTidy(layoutOf(manyVms({ vms: 300 }), width));
  });
}

test('few buffers are drawn one by one in the frames of their VMs, and none is folded', () => {
  const layout = layoutOf(busyHost(), 1380);
  assert.equal(layout.boxes.filter(({ kind }) => kind === 'buffer').length, 14);
  assert.deepEqual(layout.folded, []);
  assert.deepEqual(
    layout.groups.map(({ title }) => title),
    ['VM training-a', 'VM training-b', 'VM inference-eu', 'VM web-7'],
  );
  assert.equal(layout.boxes.find(({ id }) => id === 'device:0000:41:00.0')?.detail, '2 exports rejected');
  const states = new Set(layout.lines.map(({ state }) => state));
  assert.deepEqual([...states].sort(), ['attached', 'export', 'mapped', 'rejected', 'revoked']);
  for (const line of layout.lines) assert.equal(line.broken !== null, line.state === 'rejected');
});

test('many similar buffers, and then devices, are folded into one box, and the layout reports it', () => {
  const some = layoutOf(busyHost({ vms: 2, buffers: 60, rejections: 0 }), 1380);
  const drawn = some.boxes.filter(({ kind }) => kind === 'buffer');
  assert.ok(drawn.length < 29);
  assert.deepEqual(some.folded, [`60 buffers are drawn as ${drawn.length}, alike ones as one`]);
  const many = layoutOf(busyHost({ vms: 40, buffers: 2000 }), 1380);
  assert.ok(many.boxes.length < 50, `${many.boxes.length} boxes`);
  assert.match(many.folded.join('; '), /35 devices are drawn as one; 2,000 buffers are drawn as \d+/);
  const devices = many.boxes.filter(({ kind }) => kind === 'device');
  assert.equal(devices.length, 6);
  assert.ok(devices.some(({ id }) => id === OTHER_DEVICES));
  const shown = many.boxes
    .filter(({ kind }) => kind === 'buffer')
    .reduce(
      (sum, { title }) => sum + Number(/^(\d[\d,]*) buffer/.exec(title)?.[1]?.replace(',', '') ?? 1),
      0,
    );
  assert.equal(shown, 2000, 'each buffer is in exactly one box');
});

test('many importers are folded into one box, except the most important ones', () => {
  const layout = layoutOf(manyVms({ vms: 300 }), 1380);
  assert.ok(layout.boxes.filter(({ kind }) => kind === 'importer').length <= 16);
  assert.match(layout.folded.join('; '), /importers are drawn as one/);
});

test('labels and crosses of rejected lines do not overlap, and a label without space is only in the title', () => {
  for (const [width, options] of [
    [1380, { vms: 2, buffers: 6, rejections: 12 }],
    [1380, { vms: 4, buffers: 60, rejections: 60 }],
    [820, { vms: 2, buffers: 6, rejections: 12 }],
    [330, { vms: 2, buffers: 6, rejections: 12 }],
  ] as const) {
    const { lines } = layoutOf(busyHost(options), width);
    const rejected = lines.filter(({ state }) => state === 'rejected');
    const labels = rejected.flatMap(({ broken, label, full }) => {
      assert.match(full, /rejected: \w+/);
      return broken === null || label === '' ? [] : [labelArea(broken, label)];
    });
    assert.equal(labels.length > 0, width > 700, `${width} wide`);
    const crosses = rejected.flatMap(({ broken }) => (broken === null ? [] : [crossArea(broken)]));
    assert.equal(crosses.length, rejected.length);
    for (const [index, label] of labels.entries()) {
      for (const other of [...labels.slice(index + 1), ...crosses])
        assert.ok(!overlap(label, other), `${width} wide: ${JSON.stringify([label, other])}`);
    }
  }
});

test('a text that is too long ends in an ellipsis', () => {
  assert.equal(shorten('abcdef', 4), 'abc…');
  assert.equal(shorten('abcd', 4), 'abcd');
});

test('the tooltip of a mapping has its route', () => {
  const lines = [
    ...[HEADER, starting(1_000_000, 1), ready(2_000_000), exported({ t: 3_000_000, inode: 9 })],
    imported({ t: 3_000_001, inode: 9, stage: 'attach', importer: 'mlx5_core' }),
    imported({ t: 3_000_002, inode: 9, stage: 'map', importer: 'mlx5_core', route: 'host_bridge' }),
  ];
  const line = layoutOf(lines, 1380).lines.find(({ state }) => state === 'mapped');
  assert.match(line?.full ?? '', /: mapped through the host bridge$/);
});
