import assert from 'node:assert/strict';
import type { Lab } from '../lab.ts';
import type { Scenario } from '../scenario.ts';
import {
  type BufferLabels,
  detached,
  exported,
  IOMMUFD_ATTACHES,
  imported,
  KIB,
  opened,
  PLAIN,
  revoked,
  sum,
  UNKNOWN_DEVICE,
} from './names.ts';

/** The samples that change with one rejected map by address. It has no duration. */
function rejectedMap(reason: string, { device, privacy }: BufferLabels): Record<string, number> {
  return {
    [`import_rejections_total{device="${device}",errno="EFAULT",importer="iommufd",privacy="${privacy}",reason="${reason}",stage="ioas_map"}`]: 1,
  };
}
const BAR: BufferLabels = { device: PLAIN, privacy: 'undeclared' };
const REJECTED = {
  kind: 'import',
  stage: 'ioas_map',
  importer: 'iommufd',
  inode: 0,
  errno: 14,
  privacy: null,
} as const;

/** Runs a VMM that stays until the incident of its BAR is open and names it. */
async function mapsBar(lab: Lab, step: string): Promise<void> {
  const held = await lab.background('bar', `cdev=${PLAIN}`, step, 'wait=/tmp/go');
  await lab.until('the incident `bar_mapped_by_address` to open', 30, async () => {
    const incidents = await lab.openIncidents('bar_mapped_by_address');
    return incidents.some(
      ({ device, sentence }) => device === PLAIN && sentence.includes(`session (${held.pid})`),
    );
  });
  await lab.command('touch /tmp/go');
  const steps = await held.finish();
  assert.equal(steps[1]?.errno, 14);
  await lab.command('rm /tmp/go');
  await lab.until('the incident to close', 30, async () => {
    return (await lab.openIncidents('bar_mapped_by_address')).length === 0;
  });
}

/** Maps by address. The device is attached to the IOAS, because iommufd pins the memory only for an attached device. */
export const ADDRESSES: readonly Scenario[] = [
  {
    name: 'bar-by-address',
    title:
      'iommufd rejects a BAR by its address; the rejection names the device, and the incident the process',
    dialect: 'cdev',
    run: (lab) => mapsBar(lab, 'iommufd-bar=2,4096:8192'),
    metrics: sum(rejectedMap('bar_by_address', BAR), opened('bar_mapped_by_address')),
    events: [{ ...REJECTED, device: PLAIN, reason: 'bar_by_address', comm: 'session' }],
  },
  {
    name: 'bar-by-address-compat',
    title: 'the same by the call of a VFIO container that iommufd replaces',
    dialect: 'cdev',
    run: (lab) => mapsBar(lab, 'iommufd-bar-compat=2'),
    metrics: sum(rejectedMap('bar_by_address', BAR), opened('bar_mapped_by_address')),
    events: [{ ...REJECTED, device: PLAIN, reason: 'bar_by_address', comm: 'session' }],
  },
  {
    name: 'memory-by-address',
    title: 'iommufd maps memory by its address, which is not counted; an address without memory is rejected',
    dialect: 'cdev',
    run: async (lab) => {
      const steps = await lab.session(`cdev=${PLAIN}`, 'iommufd-ram=65536', 'iommufd-hole=65536');
      assert.deepEqual(
        steps.map(({ errno }) => errno),
        [0, 0, 14],
      );
    },
    metrics: rejectedMap('bad_address', UNKNOWN_DEVICE),
    events: [{ ...REJECTED, device: 'unknown', reason: 'bad_address' }],
  },
  {
    name: 'iommufd-copy',
    title: 'a copy of a mapping is one more mapping: a revocation loses both, and one remap restores one',
    dialect: 'mainline',
    run: async (lab) => {
      const held = await lab.background(
        'copy',
        `device=${PLAIN}`,
        'export=2,0:4096',
        'iommufd=0',
        'iommufd-copy=0',
        'memory=off',
        'memory=on',
        'iommufd=0',
        'touch=/tmp/mapped',
        'wait=/tmp/go',
        'close=0',
      );
      await lab.command('while [ ! -e /tmp/mapped ]; do sleep 0.1; done');
      await lab.settle();
      assert.equal((await lab.samples()).get(`lost_mappings{device="${PLAIN}"}`), 1);
      await lab.command('touch /tmp/go');
      const steps = await held.finish();
      assert.deepEqual(
        steps.map(({ errno }) => errno),
        steps.map(() => 0),
      );
      await lab.command('rm /tmp/go /tmp/mapped');
    },
    metrics: sum(
      exported(PLAIN, 4 * KIB),
      IOMMUFD_ATTACHES,
      IOMMUFD_ATTACHES,
      imported('iommufd', 'iommufd', 3),
      revoked(PLAIN, 'memory_enable'),
      { [`restorations_total{cause="memory_enable",device="${PLAIN}"}`]: 1 },
      detached('iommufd', 2),
      opened('mappings_lost'),
      { releases_total: 1 },
    ),
    events: [
      { kind: 'export', errno: 0 },
      { kind: 'import', stage: 'attach', importer: 'iommufd', errno: 0 },
      { kind: 'import', stage: 'pin', importer: 'iommufd', errno: 0 },
      { kind: 'import', stage: 'iommufd', importer: 'iommufd', errno: 0 },
      { kind: 'import', stage: 'iommufd', importer: 'iommufd', device: PLAIN, errno: 0, reason: 'none' },
      { kind: 'buffer_state', revoked: true, cause: 'memory_enable', lost_mappings: 2 },
      { kind: 'revoke_call', revoked: true, buffers: 1 },
      { kind: 'buffer_state', revoked: false, cause: 'memory_enable' },
      { kind: 'revoke_call', revoked: false, buffers: 1 },
      { kind: 'import', stage: 'attach', importer: 'iommufd', errno: 0 },
      { kind: 'import', stage: 'pin', importer: 'iommufd', errno: 0 },
      { kind: 'import', stage: 'iommufd', importer: 'iommufd', errno: 0 },
      { kind: 'detach', importer: 'iommufd' },
      { kind: 'detach', importer: 'iommufd' },
      { kind: 'release' },
    ],
  },
];
