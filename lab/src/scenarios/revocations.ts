import assert from 'node:assert/strict';
import type { BufferView } from '../../../server/src/contract/buffers.ts';
import type { Lab } from '../lab.ts';
import type { Scenario } from '../scenario.ts';
import {
  CAPABLE,
  detached,
  exported,
  imported,
  KIB,
  opened,
  PLAIN,
  RESETTABLE,
  rejectedImport,
  revoked,
  sum,
  UNKNOWN_DEVICE,
} from './names.ts';

async function bufferIn(lab: Lab, state: string): Promise<BufferView | undefined> {
  const { body } = await lab.get(`/api/v1/buffers?state=${state}`);
  return (JSON.parse(body) as { buffers: BufferView[] }).buffers[0];
}

function restored(device: string, cause: string): Record<string, number> {
  return {
    [`restorations_total{cause="${cause}",device="${device}"}`]: 1,
  };
}

/** A scenario in which one operation revokes the memory of a device and restores it. */
function cycle(
  name: string,
  title: string,
  device: string,
  region: number,
  cause: string,
  ...operation: string[]
): Scenario {
  return {
    name: `revoke-${name}`,
    title,
    dialect: 'mainline',
    run: async (lab) => {
      const steps = await lab.session(`device=${device}`, `export=${region},0:4096`, ...operation, 'close=0');
      assert.deepEqual(
        steps.map((step) => step.errno),
        steps.map(() => 0),
      );
    },
    metrics: sum(exported(device, 4 * KIB), revoked(device, cause), restored(device, cause), {
      releases_total: 1,
    }),
    events: [
      { kind: 'export', device, errno: 0 },
      { kind: 'buffer_state', device, revoked: true, cause, lost_mappings: 0 } as never,
      { kind: 'revoke_call', device, revoked: true, cause, buffers: 1 } as never,
      { kind: 'buffer_state', device, revoked: false, cause } as never,
      { kind: 'revoke_call', device, revoked: false, cause, buffers: 1 } as never,
      { kind: 'release', device },
    ],
  };
}

/** iommufd maps a buffer, loses the mapping when memory decode goes off and on, and maps the buffer again. */
const MAPPED_TWICE = sum(
  exported(PLAIN, 4 * KIB),
  imported('iommufd', 'attach', 2),
  imported('iommufd', 'pin', 2),
  imported('iommufd', 'iommufd', 2),
  revoked(PLAIN, 'memory_enable'),
  restored(PLAIN, 'memory_enable'),
  detached('iommufd', 2),
  { releases_total: 1 },
);
const LOST_AND_RESTORED: Scenario['events'] = [
  { kind: 'export', errno: 0 },
  { kind: 'import', stage: 'attach', errno: 0 },
  { kind: 'import', stage: 'pin', errno: 0 },
  { kind: 'import', stage: 'iommufd', errno: 0 },
  { kind: 'buffer_state', revoked: true, cause: 'memory_enable', lost_mappings: 1 },
  { kind: 'revoke_call', revoked: true, buffers: 1 },
  { kind: 'buffer_state', revoked: false, cause: 'memory_enable' },
  { kind: 'revoke_call', revoked: false, buffers: 1 },
];

export const REVOCATIONS: readonly Scenario[] = [
  {
    name: 'revoke-memory-disabled',
    title: 'memory decode off: the buffer is revoked, its mapping is lost, and a new import is rejected',
    dialect: 'mainline',
    run: async (lab) => {
      const held = await lab.background(
        'memory',
        `device=${PLAIN}`,
        'export=2,0:4096',
        'iommufd=0',
        'memory=off',
        'iommufd=0',
        'wait=/tmp/go',
        'iommufd-unmap=0',
        'close=0',
      );
      await lab.until(
        'the buffer to be revoked',
        30,
        async () => (await bufferIn(lab, 'revoked')) !== undefined,
      );
      await lab.settle();
      const buffer = await bufferIn(lab, 'revoked');
      assert.equal(buffer?.lost_mappings, 1);
      assert.equal(buffer?.revoke_cause, 'memory_enable');
      const samples = await lab.samples();
      assert.equal(samples.get(`lost_mappings{device="${PLAIN}"}`), 1);
      assert.equal(samples.get(`buffers{device="${PLAIN}",privacy="undeclared",state="revoked"}`), 1);
      await lab.command('touch /tmp/go');
      const steps = await held.finish();
      assert.equal(steps[4]?.errno, 19);
      await lab.command('rm /tmp/go');
    },
    metrics: sum(
      exported(PLAIN, 4 * KIB),
      imported('iommufd', 'attach'),
      imported('iommufd', 'pin'),
      imported('iommufd', 'iommufd'),
      revoked(PLAIN, 'memory_enable'),
      rejectedImport('iommufd', 'attach', 'ENODEV', 'revoked'),
      detached('iommufd'),
      { releases_total: 1 },
      opened('mappings_lost'),
    ),
    events: [
      { kind: 'export', errno: 0 },
      { kind: 'import', stage: 'attach', errno: 0 },
      { kind: 'import', stage: 'pin', errno: 0 },
      { kind: 'import', stage: 'iommufd', errno: 0 },
      { kind: 'buffer_state', device: PLAIN, revoked: true, cause: 'memory_enable', lost_mappings: 1 },
      { kind: 'revoke_call', device: PLAIN, revoked: true, cause: 'memory_enable', buffers: 1 },
      { kind: 'import', stage: 'attach', importer: 'iommufd', errno: 19, reason: 'revoked' },
      { kind: 'detach', importer: 'iommufd' },
      { kind: 'release' },
    ],
  },
  {
    name: 'revoke-memory-enabled-again',
    title: 'memory decode on again, and the buffer is remapped: the mapping is no longer lost',
    dialect: 'mainline',
    run: async (lab) => {
      const held = await lab.background(
        'again',
        `device=${PLAIN}`,
        'export=2,0:4096',
        'iommufd=0',
        'memory=off',
        'memory=on',
        'touch=/tmp/lost',
        'wait=/tmp/go',
        'iommufd-unmap=0',
        'iommufd=0',
        'touch=/tmp/mapped',
        'wait=/tmp/end',
        'iommufd-unmap=0',
        'close=0',
      );
      await lab.command('while [ ! -e /tmp/lost ]; do sleep 0.1; done');
      await lab.settle();
      assert.equal(
        (await bufferIn(lab, 'live'))?.lost_mappings,
        1,
        'the memory is restored, but not remapped',
      );
      await lab.command('touch /tmp/go; while [ ! -e /tmp/mapped ]; do sleep 0.1; done');
      await lab.settle();
      assert.equal((await bufferIn(lab, 'live'))?.lost_mappings, 0);
      assert.equal((await lab.samples()).get(`lost_mappings{device="${PLAIN}"}`), 0);
      await lab.command('touch /tmp/end');
      await held.finish();
      await lab.command('rm /tmp/go /tmp/end /tmp/lost /tmp/mapped');
    },
    metrics: sum(MAPPED_TWICE, opened('mappings_lost')),
    events: [
      ...LOST_AND_RESTORED,
      { kind: 'detach', importer: 'iommufd' },
      { kind: 'import', stage: 'attach', errno: 0 },
      { kind: 'import', stage: 'pin', errno: 0 },
      { kind: 'import', stage: 'iommufd', errno: 0 },
      { kind: 'detach', importer: 'iommufd' },
      { kind: 'release' },
    ],
  },
  {
    name: 'revoke-mapped-again-in-vain',
    title: 'a remap while the old mapping still exists: iommufd rejects it late, and the mapping stays lost',
    dialect: 'mainline',
    run: async (lab) => {
      const held = await lab.background(
        'vain',
        `device=${PLAIN}`,
        'export=2,0:4096',
        'iommufd=0',
        'memory=off',
        'memory=on',
        'iommufd-again=0',
        'touch=/tmp/rejected',
        'wait=/tmp/end',
        'iommufd-unmap=0',
        'close=0',
      );
      await lab.command('while [ ! -e /tmp/rejected ]; do sleep 0.1; done');
      await lab.settle();
      assert.equal((await bufferIn(lab, 'live'))?.lost_mappings, 1);
      assert.equal((await lab.samples()).get(`lost_mappings{device="${PLAIN}"}`), 1);
      await lab.command('touch /tmp/end');
      const steps = await held.finish();
      assert.equal(steps[5]?.errno, 17);
      await lab.command('rm /tmp/end /tmp/rejected');
    },
    metrics: sum(
      MAPPED_TWICE,
      rejectedImport('iommufd', 'iommufd', 'EEXIST', 'other'),
      // iommufd mapped the buffer before it rejected the call, so the incident closed for that time and opened again.
      opened('mappings_lost'),
      opened('mappings_lost'),
    ),
    events: [
      ...LOST_AND_RESTORED,
      { kind: 'import', stage: 'attach', errno: 0 },
      { kind: 'import', stage: 'pin', errno: 0 },
      { kind: 'import', stage: 'iommufd', errno: 0 },
      { kind: 'detach', importer: 'iommufd' },
      { kind: 'import', stage: 'iommufd', importer: 'iommufd', errno: 17, reason: 'other' },
      { kind: 'detach', importer: 'iommufd' },
      { kind: 'release' },
    ],
  },
  cycle('reset', 'VFIO_DEVICE_RESET revokes and restores the memory', RESETTABLE, 2, 'reset', 'reset'),
  cycle('hot-reset', 'a hot reset revokes and restores the memory', RESETTABLE, 2, 'hot_reset', 'hot-reset'),
  cycle(
    'flr',
    'a function-level reset by config write revokes and restores the memory',
    CAPABLE,
    4,
    'flr',
    'flr',
  ),
  cycle(
    'power-state',
    'D3 revokes the memory, D0 restores it',
    CAPABLE,
    4,
    'power_state',
    'power=d3',
    'power=d0',
  ),
  {
    name: 'revoke-device-close',
    title: 'the device is closed while its buffer exists: the buffer is revoked permanently',
    dialect: 'mainline',
    run: async (lab) => {
      await lab.session(`device=${PLAIN}`, 'export=2,0:4096', `close-device=${PLAIN}`, 'vgem=0', 'close=0');
    },
    metrics: sum(
      exported(PLAIN, 4 * KIB),
      revoked(PLAIN, 'device_close'),
      rejectedImport('vgem', 'attach', 'EOPNOTSUPP', 'no_peer_to_peer', UNKNOWN_DEVICE),
      { releases_total: 1 },
    ),
    events: [
      { kind: 'export', errno: 0 },
      { kind: 'buffer_state', device: PLAIN, revoked: true, cause: 'device_close', lost_mappings: 0 },
      { kind: 'revoke_call', device: PLAIN, revoked: true, cause: 'device_close', buffers: 1 },
      { kind: 'import', importer: 'vgem', device: PLAIN, errno: 95 },
      { kind: 'release', device: PLAIN },
    ],
  },
  {
    name: 'revoke-close-of-revoked',
    title: 'the device of a revoked buffer is closed: the revocation is counted once',
    dialect: 'mainline',
    run: async (lab) => {
      await lab.session(
        ...[`device=${PLAIN}`, 'export=2,0:4096', 'memory=off', `close-device=${PLAIN}`, 'close=0'],
      );
    },
    metrics: sum(exported(PLAIN, 4 * KIB), revoked(PLAIN, 'memory_enable'), { releases_total: 1 }),
    events: [
      { kind: 'export', errno: 0 },
      { kind: 'buffer_state', device: PLAIN, revoked: true, cause: 'memory_enable', lost_mappings: 0 },
      { kind: 'revoke_call', device: PLAIN, revoked: true, cause: 'memory_enable', buffers: 1 },
      { kind: 'release', device: PLAIN },
    ],
  },
];
