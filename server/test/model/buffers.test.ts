import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { WALKED_ATTACHMENTS } from '../../src/protocol/codes.ts';
import { feed } from '../fixtures/feed.ts';
import {
  ALL_PROBES,
  bufferState,
  collectorLine,
  detached,
  exported,
  HEADER,
  imported,
  ready,
  released,
  snapshot,
  snapshotBuffer,
  starting,
  unmapped,
} from '../fixtures/stream-lines.ts';

const BEGIN = [HEADER, starting(1_000_000, 1), ready(2_000_000)];
const T = 3_000_000;

function after(...lines: string[]) {
  return feed([...BEGIN, ...lines]);
}

test('an export adds a live buffer with its owner and its VM', () => {
  const { model } = after(
    exported({ t: T, inode: 9, pid: 100, privacy: 'private', kvm_pid: 100, vm_type: 'tdx' }),
  );
  assert.deepEqual(model.buffers(), [
    {
      inode: 9,
      state: 'live',
      device: '0000:41:00.0',
      region: 2,
      ranges: 1,
      bytes: 4096,
      privacy: 'private',
      born_revoked: false,
      preexisting: false,
      owner: { pid: 100, comm: 'qemu', gone: false },
      vm: {
        pid: 100,
        by: 'kvm',
        kind: 'tdx',
        vmm: null,
        name: null,
        uuid: null,
        pod_uid: null,
        pod_name: null,
        pod_namespace: null,
        container_id: null,
        container_name: null,
      },
      exported_at: '2023-11-14T22:13:23.000Z',
      changed_at: '2023-11-14T22:13:23.000Z',
      revoke_cause: null,
      lost_mappings: 0,
      attachments: [],
      attachment_count: 0,
      holders: [],
      holders_at: null,
    },
  ]);
});

test('a rejected export adds no buffer', () => {
  assert.deepEqual(after(exported({ t: T, inode: 0, errno: 22, reason: 'unaligned' })).model.buffers(), []);
});

test('a buffer that is exported while memory decode is off is born revoked', () => {
  const { model } = after(exported({ t: T, inode: 9, born_revoked: true }));
  assert.equal(model.buffer(9)?.state, 'revoked');
  assert.equal(model.buffer(9)?.born_revoked, true);
});

test('a released buffer stays in the history, up to its limit', () => {
  const lines = [1, 2, 3].flatMap((inode) => [
    exported({ t: T + inode, inode }),
    released(T + 10 + inode, inode),
  ]);
  const { model } = feed([...BEGIN, ...lines], { historyLimit: 2 });
  assert.deepEqual(
    model.buffers().map(({ inode, state }) => [inode, state]),
    [
      [2, 'released'],
      [3, 'released'],
    ],
  );
});

test('a release that arrives before its export leaves the buffer released', () => {
  const { model } = after(released(T + 1, 9), exported({ t: T, inode: 9 }));
  assert.equal(model.buffer(9)?.state, 'released');
  assert.equal(model.buffer(9)?.bytes, 4096);
});

test('attach, map and detach update the attachments of an importer', () => {
  const { model, more } = after(
    exported({ t: T, inode: 9 }),
    imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'mlx5_core' }),
    imported({ t: T + 2, inode: 9, stage: 'attach', importer: 'mlx5_core' }),
  );
  assert.equal(model.buffer(9)?.attachments[0]?.mapped, false);
  more(imported({ t: T + 3, inode: 9, stage: 'map', importer: 'mlx5_core', route: 'iommu' }));
  assert.deepEqual(model.buffer(9)?.attachments, [
    {
      importer: 'mlx5_core',
      importer_device: 'mlx5_core',
      count: 2,
      mapped: true,
      route: 'iommu',
      since: '2023-11-14T22:13:23.000Z',
      importer_interface: null,
      task: { pid: 100, comm: 'qemu' },
      by_vm: null,
    },
  ]);
  assert.equal(model.buffer(9)?.attachment_count, 2);
  more(detached(T + 4, 9, 'mlx5_core'), detached(T + 5, 9, 'mlx5_core'));
  assert.deepEqual(model.buffer(9)?.attachments, []);
  assert.equal(model.buffer(9)?.attachment_count, 0);
});

test('a rejected attach adds no attachment', () => {
  const { model } = after(
    exported({ t: T, inode: 9 }),
    imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'i915', errno: 95, reason: 'no_peer_to_peer' }),
  );
  assert.deepEqual(model.buffer(9)?.attachments, []);
});

const MAPPED_BY_IOMMUFD = [
  exported({ t: T, inode: 9 }),
  imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'iommu' }),
  imported({ t: T + 2, inode: 9, stage: 'iommufd', importer: 'iommu' }),
];

test('iommufd mappings are lost from a revocation until the buffer is remapped', () => {
  const { model, more } = after(...MAPPED_BY_IOMMUFD);
  assert.equal(model.buffer(9)?.attachments[0]?.importer, 'iommufd');
  const [event] = more(bufferState(T + 3, 9, true));
  assert.equal(event?.kind === 'buffer_state' && event.lost_mappings, 1);
  assert.equal(model.buffer(9)?.state, 'revoked');
  assert.equal(model.buffer(9)?.revoke_cause, 'flr');
  assert.equal(model.buffer(9)?.lost_mappings, 1);
  assert.equal(model.buffer(9)?.attachments[0]?.mapped, false);
  more(bufferState(T + 4, 9, false));
  assert.equal(model.buffer(9)?.state, 'live');
  assert.equal(model.buffer(9)?.lost_mappings, 1);
  more(detached(T + 5, 9, 'iommu'));
  assert.equal(model.buffer(9)?.lost_mappings, 1);
  more(
    imported({ t: T + 6, inode: 9, stage: 'attach', importer: 'iommu' }),
    imported({ t: T + 7, inode: 9, stage: 'iommufd', importer: 'iommu' }),
  );
  assert.equal(model.buffer(9)?.lost_mappings, 0);
  assert.equal(model.buffer(9)?.attachments[0]?.mapped, true);
});

test('a second revocation does not count a lost mapping again', () => {
  const { more } = after(...MAPPED_BY_IOMMUFD, bufferState(T + 3, 9, true), bufferState(T + 4, 9, false));
  const [event] = more(bufferState(T + 5, 9, true));
  assert.equal(event?.kind === 'buffer_state' && event.lost_mappings, 0);
});

test('a release clears the lost mappings', () => {
  const { model } = after(...MAPPED_BY_IOMMUFD, bufferState(T + 3, 9, true), released(T + 4, 9));
  assert.equal(model.buffer(9)?.lost_mappings, 0);
});

const MAPPED_BY_MLX5 = [
  exported({ t: T, inode: 9 }),
  imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'mlx5_core' }),
  imported({ t: T + 2, inode: 9, stage: 'map', importer: 'mlx5_core' }),
];

test('a dynamic importer stays mapped after a revocation until its unmap, and loses no mapping', () => {
  const { model, more } = after(...MAPPED_BY_MLX5, bufferState(T + 3, 9, true));
  assert.equal(model.buffer(9)?.lost_mappings, 0);
  assert.equal(model.buffer(9)?.attachments[0]?.mapped, true);
  more(unmapped(T + 4, 9, 'mlx5_core'));
  assert.equal(model.buffer(9)?.attachments[0]?.mapped, false);
  more(
    bufferState(T + 5, 9, false),
    imported({ t: T + 6, inode: 9, stage: 'map', importer: 'mlx5_core' }),
    imported({ t: T + 7, inode: 9, stage: 'map', importer: 'mlx5_core' }),
    unmapped(T + 8, 9, 'mlx5_core'),
  );
  assert.equal(model.buffer(9)?.attachments[0]?.mapped, true);
});

test('a revocation counts as the unmap if the unmap probe is not attached', () => {
  const attached = ALL_PROBES.filter((probe) => probe !== 'unmap');
  const begin = [HEADER, starting(1_000_000, 1, { attached }), ready(2_000_000)];
  const { model } = feed([...begin, ...MAPPED_BY_MLX5, bufferState(T + 3, 9, true)]);
  assert.equal(model.buffer(9)?.attachments[0]?.mapped, false);
});

test('an iommufd mapping whose event arrives after the revocation is lost', () => {
  const [first = '', second = '', third = ''] = MAPPED_BY_IOMMUFD;
  const { model } = after(first, bufferState(T + 3, 9, true), third, second);
  assert.equal(model.buffer(9)?.lost_mappings, 1);
  assert.equal(model.buffer(9)?.attachments[0]?.mapped, false);
  assert.equal(model.buffer(9)?.attachments[0]?.count, 1);
});

test('the newer of two state changes wins, in any order of arrival', () => {
  const { model } = after(
    exported({ t: T, inode: 9 }),
    bufferState(T + 4, 9, false),
    bufferState(T + 3, 9, true),
  );
  assert.equal(model.buffer(9)?.state, 'live');
});

test('an exit that arrives before the export marks the owner as ended, unless it is older than the export', () => {
  const { model } = after(
    collectorLine('exit', { t: T + 5, pid: 100 }),
    collectorLine('exit', { t: T + 5, pid: 200 }),
    exported({ t: T, inode: 9, pid: 100 }),
    exported({ t: T + 9, inode: 10, pid: 200 }),
  );
  assert.equal(model.buffer(9)?.owner?.gone, true);
  assert.equal(model.buffer(10)?.owner?.gone, false);
});

test('attachments and lost mappings do not depend on the order in which the events arrive', () => {
  const lines = [
    imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'mlx5_core' }),
    imported({ t: T + 2, inode: 9, stage: 'map', importer: 'mlx5_core' }),
    unmapped(T + 3, 9, 'mlx5_core'),
    detached(T + 4, 9, 'mlx5_core'),
    imported({ t: T + 5, inode: 9, stage: 'attach', importer: 'mlx5_core' }),
    imported({ t: T + 6, inode: 9, stage: 'map', importer: 'mlx5_core' }),
    imported({ t: T + 7, inode: 9, stage: 'attach', importer: 'iommu' }),
    imported({ t: T + 8, inode: 9, stage: 'iommufd', importer: 'iommu' }),
    bufferState(T + 9, 9, true),
  ];
  const stateAfter = (order: readonly string[]) => {
    const buffer = after(exported({ t: T, inode: 9 }), ...order).model.buffer(9);
    const rows = buffer?.attachments.map(({ importer, count, mapped }) => [importer, count, mapped]);
    return [rows?.sort(), buffer?.attachment_count, buffer?.lost_mappings, buffer?.state];
  };
  const expected = [
    [
      ['iommufd', 1, false],
      ['mlx5_core', 1, true],
    ],
    2,
    1,
    'revoked',
  ];
  assert.deepEqual(stateAfter(lines), expected);
  fc.assert(
    fc.property(fc.shuffledSubarray(lines, { minLength: lines.length }), (order) => {
      assert.deepEqual(stateAfter(order), expected);
    }),
    { numRuns: 500 },
  );
});

test('an event of an unknown buffer adds it as preexisting, an event of another dma-buf adds nothing', () => {
  const { model } = after(
    imported({ t: T, inode: 9, stage: 'map', importer: 'mlx5_core' }),
    imported({ t: T, inode: 8, stage: 'attach', importer: 'i915', device: 0 }),
  );
  assert.deepEqual(
    model.buffers().map(({ inode, preexisting, device }) => [inode, preexisting, device]),
    [[9, true, '0000:41:00.0']],
  );
});

test('the exit of the owner is marked in the buffer', () => {
  const { model } = after(
    exported({ t: T, inode: 9, pid: 100 }),
    collectorLine('exit', { t: T + 1, pid: 100 }),
  );
  assert.equal(model.buffer(9)?.owner?.gone, true);
});

test('a snapshot adds unknown buffers with their holders', () => {
  const holders = [{ pid: 5, comm: 'qemu', fds: 2 }];
  const { model } = after(
    snapshot(T, [snapshotBuffer({ inode: 7, kvm_pid: 5, revoked: true, attachments: 3, holders })]),
  );
  const buffer = model.buffer(7);
  assert.equal(buffer?.preexisting, true);
  assert.equal(buffer?.state, 'revoked');
  assert.equal(buffer?.revoke_cause, null);
  assert.equal(buffer?.owner, null);
  assert.equal(buffer?.vm?.pid, 5);
  assert.equal(buffer?.attachment_count, 3);
  assert.deepEqual(buffer?.holders, holders);
  assert.equal(buffer?.exported_at, null);
});

test('a late export event completes a buffer that a snapshot has added', () => {
  const { model } = after(snapshot(T, [snapshotBuffer({ inode: 7 })]), exported({ t: T - 5, inode: 7 }));
  assert.equal(model.buffer(7)?.preexisting, false);
  assert.equal(model.buffer(7)?.owner?.comm, 'qemu');
  assert.equal(model.buffers().length, 1);
});

test('a snapshot from before the release does not restore the buffer', () => {
  const { model } = after(
    exported({ t: T, inode: 9 }),
    released(T + 5, 9),
    snapshot(T + 1, [snapshotBuffer({ inode: 9 })]),
  );
  assert.equal(model.buffer(9)?.state, 'released');
  assert.equal(model.status().buffers.live, 0);
});

test('a complete snapshot releases the buffers that it lacks without an event, except newer ones', () => {
  const { model, more } = after(exported({ t: T, inode: 1 }), exported({ t: T + 100, inode: 2 }));
  const events = more(snapshot(T + 50, [], { complete: false }));
  assert.equal(model.status().buffers.live, 2);
  events.push(...more(snapshot(T + 50, [])));
  assert.deepEqual(events, []);
  assert.equal(model.buffer(1)?.state, 'released');
  assert.equal(model.buffer(2)?.state, 'live');
});

test('a snapshot corrects a state whose event was lost, but a newer event wins', () => {
  const { model, more } = after(...MAPPED_BY_IOMMUFD);
  more(snapshot(T + 100, [snapshotBuffer({ inode: 9, revoked: true, attachments: 1 })]));
  assert.equal(model.buffer(9)?.state, 'revoked');
  assert.equal(model.buffer(9)?.lost_mappings, 1);
  more(
    bufferState(T + 300, 9, false),
    snapshot(T + 200, [snapshotBuffer({ inode: 9, revoked: true, attachments: 1 })]),
  );
  assert.equal(model.buffer(9)?.state, 'live');
});

test('a snapshot without attachments removes attachments whose detach was lost', () => {
  const { model } = after(...MAPPED_BY_IOMMUFD, snapshot(T + 100, [snapshotBuffer({ inode: 9 })]));
  assert.deepEqual(model.buffer(9)?.attachments, []);
  assert.equal(model.buffer(9)?.attachment_count, 0);
});

test('a snapshot with fewer attachments drops their names, unless it has reached the limit of its walk', () => {
  const held = [
    exported({ t: T, inode: 9 }),
    imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'mlx5_core' }),
    imported({ t: T + 2, inode: 9, stage: 'attach', importer: 'amdgpu' }),
  ];
  const one = after(...held, snapshot(T + 10, [snapshotBuffer({ inode: 9, attachments: 1 })]));
  assert.equal(one.model.buffer(9)?.attachment_count, 1);
  assert.deepEqual(one.model.buffer(9)?.attachments, []);
  const both = after(...held, snapshot(T + 10, [snapshotBuffer({ inode: 9, attachments: 2 })]));
  assert.equal(both.model.buffer(9)?.attachments.length, 2);

  const regions = Array.from({ length: 1100 }, (_, index) =>
    imported({ t: T + index, inode: 9, stage: 'attach', importer: 'mlx5_core' }),
  );
  const many = after(
    exported({ t: T, inode: 9 }),
    ...regions,
    snapshot(T + 2000, [snapshotBuffer({ inode: 9, attachments: WALKED_ATTACHMENTS })]),
  );
  assert.equal(many.model.buffer(9)?.attachment_count, 1100);
  assert.equal(many.model.buffer(9)?.attachments[0]?.count, 1100);
});

test('a snapshot corrects a lost state change also if a later event used the buffer', () => {
  const { model } = after(
    exported({ t: T, inode: 9 }),
    imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'mlx5_core' }),
    imported({ t: T + 101, inode: 9, stage: 'map', importer: 'mlx5_core' }),
    snapshot(T + 100, [snapshotBuffer({ inode: 9, revoked: true, attachments: 1 })]),
  );
  assert.equal(model.buffer(9)?.state, 'revoked');
});

test('a snapshot without the device keeps the known device', () => {
  const { model } = after(
    exported({ t: T, inode: 9 }),
    snapshot(T + 5, [snapshotBuffer({ inode: 9, device: 0 })]),
  );
  assert.equal(model.buffer(9)?.device, '0000:41:00.0');
});
