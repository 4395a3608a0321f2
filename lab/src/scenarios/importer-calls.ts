import assert from 'node:assert/strict';
import type { Incident } from '../../../server/src/contract/incidents.ts';
import type { Lab } from '../lab.ts';
import type { ExpectedEvent, Scenario } from '../scenario.ts';
import type { Step } from '../session.ts';
import {
  detached,
  exported,
  imported,
  KIB,
  opened,
  PLAIN,
  RESETTABLE,
  rejectedImport,
  routed,
  sum,
  unmapped,
} from './names.ts';

const OTHER = 'lab_importer';
/**
 * The importer's name if it attaches with the exporting device itself: that device's driver. Every topology allows
 * this.
 */
const SAME = 'vfio-pci';

function errnos(steps: readonly Step[]): number[] {
  return steps.map((step) => step.errno);
}

/**
 * A scenario with one buffer of one page. `steps` are the importers' calls, each with the errno that it must return.
 */
function withBuffer(
  name: string,
  title: string,
  steps: readonly (readonly [step: string, errno: number])[],
  metrics: readonly Record<string, number>[],
  events: readonly ExpectedEvent[],
  dialect: Scenario['dialect'] = 'mainline',
): Scenario {
  return {
    name,
    title,
    dialect,
    run: async (lab) => {
      const done = await lab.session(
        `device=${PLAIN}`,
        'export=2,0:4096',
        ...steps.map(([step]) => step),
        'close=0',
      );
      assert.deepEqual(errnos(done), [0, 0, ...steps.map(([, errno]) => errno), 0]);
    },
    metrics: sum(exported(PLAIN, 4 * KIB), ...metrics, { releases_total: 1 }),
    events: [{ kind: 'export', errno: 0 }, ...events, { kind: 'release', device: PLAIN }],
  };
}

function accepted(importer: string, stage: string): ExpectedEvent {
  return { kind: 'import', stage, device: PLAIN, importer, errno: 0, reason: 'none' } as never;
}
function rejected(importer: string, stage: string, errno: number, reason: string): ExpectedEvent {
  return { kind: 'import', stage, device: PLAIN, importer, errno, reason } as never;
}

/** Binds a device to another driver: lab_importer or vfio-pci. */
export function rebind(lab: Lab, device: string, driver: string): Promise<string> {
  return lab.command(
    `cd /sys/bus/pci/devices/${device}
     [ ! -e driver ] || echo ${device} >driver/unbind; echo ${driver} >driver_override; echo ${device} >/sys/bus/pci/drivers_probe
     [ "$(basename "$(readlink driver)")" = ${driver} ]`,
  );
}

export const IMPORTER_CALLS: readonly Scenario[] = [
  withBuffer(
    'import-not-revocable',
    'an importer whose mapping cannot be revoked is rejected',
    [[`attach=0,p2p,on=${PLAIN}`, 95]],
    [rejectedImport(SAME, 'attach', 'EOPNOTSUPP', 'not_revocable')],
    [rejected(SAME, 'attach', 95, 'not_revocable')],
  ),
  withBuffer(
    'import-static',
    'a static importer is rejected before it can map',
    [['attach=0,static', 95]],
    [rejectedImport(OTHER, 'attach', 'EOPNOTSUPP', 'no_peer_to_peer')],
    [rejected(OTHER, 'attach', 95, 'no_peer_to_peer')],
  ),
  withBuffer(
    'import-dynamic',
    'a dynamic importer attaches, pins, maps, unmaps, unpins and detaches',
    [
      [`attach=0,p2p,invalidate,on=${PLAIN}`, 0],
      ['pin=0', 0],
      ['map=0', 0],
      ['unmap=0', 0],
      ['unpin=0', 0],
      ['detach=0', 0],
    ],
    [
      imported(SAME, 'attach'),
      imported(SAME, 'pin'),
      imported(SAME, 'map'),
      routed(SAME, 'bus'),
      unmapped(SAME),
      detached(SAME),
    ],
    [
      accepted(SAME, 'attach'),
      accepted(SAME, 'pin'),
      { ...accepted(SAME, 'map'), route: 'bus' } as never,
      { kind: 'unmap', importer: SAME } as never,
      { kind: 'detach', importer: SAME },
    ],
  ),
  withBuffer(
    'import-pin-rejected',
    'up to 7.0 the exporter rejects each pin, and the surrounding dma_buf_pin is not counted again',
    [
      [`attach=0,p2p,invalidate,on=${PLAIN}`, 0],
      ['pin=0', 95],
      ['detach=0', 0],
    ],
    [imported(SAME, 'attach'), rejectedImport(SAME, 'pin', 'EOPNOTSUPP', 'pin_rejected'), detached(SAME)],
    [accepted(SAME, 'attach'), rejected(SAME, 'pin', 95, 'pin_rejected'), { kind: 'detach', importer: SAME }],
    'legacy',
  ),
  {
    name: 'import-topology',
    title: 'a PCI device without a common bridge cannot map, and neither can a device that is not PCI',
    dialect: 'mainline',
    run: async (lab) => {
      await rebind(lab, RESETTABLE, 'lab_importer');
      const steps = await lab.session(
        `device=${PLAIN}`,
        'export=2,0:4096',
        ...[`attach=0,p2p,invalidate,on=${RESETTABLE}`, 'map=0', 'detach=0'],
        ...['attach=0,p2p,invalidate', 'map=0', 'detach=0'],
        'close=0',
      );
      await rebind(lab, RESETTABLE, 'vfio-pci');
      assert.deepEqual(errnos(steps), [0, 0, 0, 22, 0, 0, 22, 0, 0]);
    },
    metrics: sum(
      exported(PLAIN, 4 * KIB),
      ...[imported(OTHER, 'attach', 2), detached(OTHER), detached(OTHER)],
      rejectedImport(OTHER, 'map', 'EINVAL', 'topology'),
      rejectedImport(OTHER, 'map', 'EINVAL', 'topology'),
      { releases_total: 1 },
    ),
    events: [
      { kind: 'export', errno: 0 },
      ...[RESETTABLE, 'lab_importer'].flatMap((device): ExpectedEvent[] => [
        { ...accepted(OTHER, 'attach'), importer_device: device } as never,
        { ...rejected(OTHER, 'map', 22, 'topology'), importer_device: device } as never,
        { kind: 'detach', importer: OTHER },
      ]),
      { kind: 'release', device: PLAIN },
    ],
  },
  withBuffer(
    'import-iommufd-beyond',
    'iommufd rejects a range beyond the buffer before it attaches',
    [['iommufd=0,8192', 22]],
    [rejectedImport('iommufd', 'iommufd', 'EINVAL', 'beyond_buffer')],
    [rejected('iommufd', 'iommufd', 22, 'beyond_buffer')],
  ),
  {
    name: 'import-iommufd-memfd',
    title:
      'iommufd checks whether a memfd with guest memory is a dma-buf; that is not counted as a rejection',
    dialect: 'mainline',
    run: async (lab) => {
      assert.deepEqual(errnos(await lab.session('iommufd-memfd=65536')), [0]);
    },
    metrics: {},
    events: [],
  },
  withBuffer(
    'import-rdma-beyond',
    'RDMA rejects a memory region beyond the buffer before it attaches',
    [['rdma=0,offset=4096,length=4096', 22]],
    [rejectedImport('lab_rdma', 'rdma', 'EINVAL', 'beyond_buffer')],
    [rejected('lab_rdma', 'rdma', 22, 'beyond_buffer')],
  ),
  withBuffer(
    'import-rdma',
    'RDMA creates an on-demand and a pinned revocable memory region; a permanently pinned one is rejected',
    [
      [`rdma=0,on=${PLAIN}`, 0],
      ['rdma-map=0', 0],
      ['rdma-release=0', 0],
      [`rdma=0,revocable,on=${PLAIN}`, 0],
      ['rdma-release=0', 0],
      [`rdma=0,pinned,on=${PLAIN}`, 95],
    ],
    [
      ...[
        imported(SAME, 'attach', 2),
        imported(SAME, 'rdma', 2),
        imported(SAME, 'pin'),
        ...[imported(SAME, 'map', 2), routed(SAME, 'bus', undefined, 2)],
      ],
      ...[unmapped(SAME), unmapped(SAME), detached(SAME), detached(SAME)],
      rejectedImport(SAME, 'attach', 'EOPNOTSUPP', 'not_revocable'),
    ],
    [
      ...[accepted(SAME, 'attach'), accepted(SAME, 'rdma'), accepted(SAME, 'map')],
      ...[{ kind: 'unmap', importer: SAME } as never, { kind: 'detach', importer: SAME } as never],
      ...[accepted(SAME, 'attach'), accepted(SAME, 'rdma'), accepted(SAME, 'pin'), accepted(SAME, 'map')],
      ...[{ kind: 'unmap', importer: SAME } as never, { kind: 'detach', importer: SAME } as never],
      rejected(SAME, 'attach', 95, 'not_revocable'),
    ],
  ),
  withBuffer(
    'import-prime-unsupported',
    'a DRM driver that cannot import rejects before it attaches',
    [['drm=0', 22]],
    [rejectedImport('lab_drm', 'prime', 'EINVAL', 'importer_unsupported')],
    [rejected('lab_drm', 'prime', 22, 'importer_unsupported')],
  ),
  withBuffer(
    'import-videobuf2-too-small',
    'a V4L2 queue rejects a buffer that is smaller than its video frame',
    [['vivid=0', 22]],
    [rejectedImport('vivid', 'videobuf2', 'EINVAL', 'beyond_buffer')],
    [rejected('vivid', 'videobuf2', 22, 'beyond_buffer')],
  ),
  {
    name: 'import-vmap',
    title: 'a CPU mapping of a VFIO buffer is rejected: from V4L2, from another importer, and by mmap',
    dialect: 'mainline',
    run: async (lab) => {
      const steps = await lab.session(
        `device=${PLAIN}`,
        'export=2,0:1048576',
        ...['vivid=0', 'vmap=0', 'mmap=0', 'close=0'],
      );
      assert.deepEqual(errnos(steps), [0, 0, 14, 22, 22, 0]);
    },
    metrics: sum(
      exported(PLAIN, 1024 * KIB),
      rejectedImport('vivid', 'vmap', 'EINVAL', 'no_cpu_mapping'),
      rejectedImport('unknown', 'vmap', 'EINVAL', 'no_cpu_mapping'),
      rejectedImport('unknown', 'vmap', 'EINVAL', 'no_cpu_mapping'),
      { releases_total: 1 },
    ),
    events: [
      { kind: 'export', errno: 0 },
      rejected('vivid', 'vmap', 22, 'no_cpu_mapping'),
      rejected('unknown', 'vmap', 22, 'no_cpu_mapping'),
      rejected('unknown', 'vmap', 22, 'no_cpu_mapping'),
      { kind: 'release', device: PLAIN },
    ],
  },
  {
    name: 'revoke-slow-importer',
    title:
      'a revocation waits for an importer that unmaps after eight seconds; an incident is open while it waits',
    dialect: 'mainline',
    run: async (lab) => {
      const before = await lab.events(0);
      const waiting = async (): Promise<Incident | undefined> =>
        (await lab.openIncidents('revoke_waiting'))[0];
      const session = await lab.background(
        'slow',
        ...[
          `device=${PLAIN}`,
          'export=2,0:4096',
          `attach=0,p2p,invalidate,on=${PLAIN},hold=8`,
          'map=0',
          'memory=off',
          'memory=on',
          'detach=0',
          'close=0',
        ],
      );
      await lab.until('the incident to open', 30, async () => (await waiting()) !== undefined);
      const incident = await waiting();
      assert.deepEqual(
        [incident?.device, incident?.importers.map(({ importer }) => importer), incident?.closed_at],
        [PLAIN, [SAME], null],
        'the incident is open while the revocation waits, and names the importer',
      );
      const steps = await session.finish();
      assert.deepEqual(
        errnos(steps),
        steps.map(() => 0),
      );
      await lab.settle();
      assert.equal(await waiting(), undefined, 'the incident closes when the wait ends');
      const events = (await lab.events(before.at(-1)?.seq ?? 0)) as { kind: string; duration_ns?: number }[];
      const call = events.find(({ kind }) => kind === 'revoke_call');
      // The importer waits in jiffies, which lag and then jump on a loaded machine, so the wait may be shorter than 8
      // s.
      assert.ok((call?.duration_ns ?? 0) > 4e9, `the revocation took ${call?.duration_ns} ns`);
    },
    metrics: sum(
      exported(PLAIN, 4 * KIB),
      ...[imported(SAME, 'attach'), imported(SAME, 'map'), routed(SAME, 'bus')],
      ...[unmapped(SAME), detached(SAME)],
      opened('revoke_waiting'),
      {
        [`revocations_total{cause="memory_enable",device="${PLAIN}"}`]: 1,
        [`restorations_total{cause="memory_enable",device="${PLAIN}"}`]: 1,
        revocation_duration_seconds_count: 1,
        releases_total: 1,
      },
    ),
    events: [
      { kind: 'export', errno: 0 },
      accepted(SAME, 'attach'),
      accepted(SAME, 'map'),
      { kind: 'buffer_state', revoked: true, cause: 'memory_enable' } as never,
      { kind: 'unmap', importer: SAME } as never,
      { kind: 'revoke_call', revoked: true, cause: 'memory_enable', buffers: 1 } as never,
      { kind: 'buffer_state', revoked: false, cause: 'memory_enable' } as never,
      { kind: 'revoke_call', revoked: false, cause: 'memory_enable', buffers: 1 } as never,
      { kind: 'detach', importer: SAME },
      { kind: 'release', device: PLAIN },
    ],
  },
];
