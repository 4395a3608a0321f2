import assert from 'node:assert/strict';
import type { Scenario } from '../scenario.ts';
import { detached, exported, IOMMUFD_ATTACHES, imported, KIB, PLAIN, rejectedImport, sum } from './names.ts';

export const IMPORTERS: readonly Scenario[] = [
  {
    name: 'import-vgem',
    title:
      'a DRM PRIME import into vgem, a static importer, is rejected because vgem does not support peer-to-peer',
    dialect: 'mainline',
    run: async (lab) => {
      const steps = await lab.session(`device=${PLAIN}`, 'export=2,0:4096', 'vgem=0', 'close=0');
      assert.equal(steps[2]?.errno, 95);
    },
    metrics: sum(
      exported(PLAIN, 4 * KIB),
      rejectedImport('vgem', 'attach', 'EOPNOTSUPP', 'no_peer_to_peer'),
      {
        releases_total: 1,
      },
    ),
    events: [
      { kind: 'export', errno: 0 },
      {
        kind: 'import',
        stage: 'attach',
        device: PLAIN,
        importer: 'vgem',
        importer_device: 'vgem',
        errno: 95,
        reason: 'no_peer_to_peer',
      },
      { kind: 'release', device: PLAIN },
    ],
  },
  {
    name: 'import-iommufd',
    title: 'iommufd maps one range, and the API lists the attachment while it is mapped',
    dialect: 'mainline',
    run: async (lab) => {
      const held = await lab.background(
        'iommufd',
        `device=${PLAIN}`,
        'export=2,0:4096',
        'iommufd=0',
        'wait=/tmp/go',
        'iommufd-unmap=0',
        'close=0',
      );
      await lab.until('the mapping in /api/v1/buffers', 30, async () => {
        const { body } = await lab.get('/api/v1/buffers?state=live');
        const [buffer] = (
          JSON.parse(body) as { buffers: { attachments: { importer: string; mapped: boolean }[] }[] }
        ).buffers;
        return buffer?.attachments.some(({ importer, mapped }) => importer === 'iommufd' && mapped) === true;
      });
      assert.equal(
        (await lab.samples()).get(`attachments{device="${PLAIN}",importer="iommufd",privacy="undeclared"}`),
        1,
      );
      await lab.command('touch /tmp/go');
      const steps = await held.finish();
      assert.equal(steps[2]?.errno, 0);
      await lab.command('rm /tmp/go');
    },
    metrics: sum(
      exported(PLAIN, 4 * KIB),
      IOMMUFD_ATTACHES,
      imported('iommufd', 'iommufd'),
      detached('iommufd'),
      {
        releases_total: 1,
      },
    ),
    events: [
      { kind: 'export', errno: 0 },
      { kind: 'import', stage: 'attach', importer: 'iommufd', errno: 0 },
      { kind: 'import', stage: 'pin', importer: 'iommufd', errno: 0 },
      { kind: 'import', stage: 'iommufd', importer: 'iommufd', errno: 0, reason: 'none' },
      { kind: 'detach', device: PLAIN, importer: 'iommufd' },
      { kind: 'release', device: PLAIN },
    ],
  },
  {
    name: 'import-iommufd-two-ranges',
    title: 'iommufd rejects a buffer of two ranges',
    dialect: 'mainline',
    run: async (lab) => {
      const steps = await lab.session(`device=${PLAIN}`, 'export=2,0:4096,8192:4096', 'iommufd=0', 'close=0');
      assert.equal(steps[2]?.errno, 95);
    },
    metrics: sum(
      exported(PLAIN, 8 * KIB),
      IOMMUFD_ATTACHES,
      rejectedImport('iommufd', 'iommufd', 'EOPNOTSUPP', 'multiple_ranges'),
      detached('iommufd'),
      { releases_total: 1 },
    ),
    events: [
      { kind: 'export', ranges: 2, errno: 0 },
      { kind: 'import', stage: 'attach', importer: 'iommufd', errno: 0 },
      { kind: 'import', stage: 'pin', importer: 'iommufd', errno: 0 },
      { kind: 'import', stage: 'iommufd', importer: 'iommufd', errno: 95, reason: 'multiple_ranges' },
      { kind: 'detach', importer: 'iommufd' },
      { kind: 'release', device: PLAIN },
    ],
  },
];
