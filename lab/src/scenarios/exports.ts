import assert from 'node:assert/strict';
import { sizeOn } from '../page-size.ts';
import type { Scenario } from '../scenario.ts';
import { exported, KIB, PLAIN, RESETTABLE, rejectedExport, sum } from './names.ts';

function rejected(
  name: string,
  title: string,
  step: string,
  errno: number,
  code: string,
  reason: string,
  ranges: number,
  region = 2,
  barParameter?: [name: string, value: string],
): Scenario {
  return {
    name: `export-${name}`,
    title,
    dialect: 'mainline',
    run: async (lab) => {
      const set = (value: string): Promise<unknown> =>
        lab.command(`echo '${value}' >/sys/module/lab_bars/parameters/${barParameter?.[0]}`);
      if (barParameter !== undefined) await set(barParameter[1]);
      const [, rejection] = await lab.session(`device=${PLAIN}`, step);
      if (barParameter !== undefined) await set('');
      assert.equal(rejection?.errno, errno);
    },
    metrics: rejectedExport(PLAIN, code, reason),
    events: [
      {
        kind: 'export',
        device: PLAIN,
        region,
        ranges,
        bytes: 0,
        inode: 0,
        errno,
        reason,
        comm: 'session',
      } as never,
    ],
  };
}

export const EXPORTS: readonly Scenario[] = [
  {
    name: 'export-one-range',
    title: 'one range of a BAR is exported, and released when its descriptor is closed',
    dialect: 'mainline',
    run: async (lab) => {
      const [, made] = await lab.session(`device=${PLAIN}`, 'export=2,0:65536', 'close=0');
      assert.equal(made?.errno, 0);
    },
    metrics: sum(exported(PLAIN, 64 * KIB), { releases_total: 1 }),
    events: [
      {
        kind: 'export',
        device: PLAIN,
        region: 2,
        ranges: 1,
        bytes: 64 * KIB,
        privacy: 'undeclared',
        born_revoked: false,
        vm: null,
        errno: 0,
        reason: 'none',
        comm: 'session',
      },
      { kind: 'release', device: PLAIN },
    ],
  },
  {
    name: 'export-two-devices',
    title: 'two devices export at the same time, one of them two ranges of a BAR',
    dialect: 'mainline',
    run: async (lab) => {
      const held = await lab.background(
        'two',
        `device=${PLAIN}`,
        'export=2,0:4096,8192:4096',
        `device=${RESETTABLE}`,
        'export=2,0:1048576',
        'wait=/tmp/go',
        'close=0',
        'close=1',
      );
      await lab.until('both buffers in /api/v1/buffers', 30, async () => {
        const { body } = await lab.get('/api/v1/buffers?state=live');
        return (JSON.parse(body) as { buffers: unknown[] }).buffers.length === 2;
      });
      const samples = await lab.samples();
      assert.equal(samples.get(`buffers{device="${PLAIN}",privacy="undeclared",state="live"}`), 1);
      assert.equal(
        samples.get(`buffer_bytes{device="${RESETTABLE}",privacy="undeclared",state="live"}`),
        sizeOn(lab.options.kernel, 1024 * KIB),
      );
      await lab.command('touch /tmp/go');
      await held.finish();
      await lab.command('rm /tmp/go');
    },
    metrics: sum(exported(PLAIN, 8 * KIB), exported(RESETTABLE, 1024 * KIB), { releases_total: 2 }),
    events: [
      { kind: 'export', device: PLAIN, ranges: 2, bytes: 8 * KIB, errno: 0 },
      { kind: 'export', device: RESETTABLE, ranges: 1, bytes: 1024 * KIB, errno: 0 },
      { kind: 'release', device: PLAIN },
      { kind: 'release', device: RESETTABLE },
    ],
  },
  {
    name: 'export-probe',
    title: 'a query whether exports are possible (VFIO_DEVICE_FEATURE_PROBE) is not counted',
    dialect: 'mainline',
    run: async (lab) => {
      const [, probe] = await lab.session(`device=${PLAIN}`, 'probe=2');
      assert.equal(probe?.errno, 0);
    },
    metrics: {},
    events: [],
  },
  {
    name: 'export-odd-task-name',
    title: 'a task name with a quote, a backslash and invalid UTF-8 does not break the stream',
    dialect: 'mainline',
    run: async (lab) => {
      await lab.session('comm=a"b\\x5cc\\xff\\xc3\\xa9', `device=${PLAIN}`, 'export=2,0:4096', 'close=0');
    },
    metrics: sum(exported(PLAIN, 4 * KIB), { releases_total: 1 }),
    events: [
      { kind: 'export', errno: 0, comm: 'a"b\\c\ufffd\u00e9' },
      { kind: 'release', comm: 'a"b\\c\ufffd\u00e9' },
    ],
  },
  rejected('no-ranges', 'an export without ranges', 'export=2,0:4096,nr=0', 22, 'EINVAL', 'no_ranges', 0),
  rejected(
    'unknown-flags',
    'an export with undefined flags',
    'export=2,0:4096,flags=1',
    22,
    'EINVAL',
    'unknown_flags',
    1,
  ),
  rejected('unaligned', 'an export of half a page', 'export=2,0:2048', 22, 'EINVAL', 'unaligned', 1),
  rejected(
    'empty-range',
    'an export whose second range has no length',
    'export=2,0:4096,4096:0',
    22,
    'EINVAL',
    'empty_range',
    2,
  ),
  rejected(
    'beyond-bar',
    'an export that ends beyond the BAR',
    'export=2,16773120:8192',
    22,
    'EINVAL',
    'beyond_bar',
    1,
  ),
  rejected(
    'bad-region',
    'an export of a region that is not a BAR',
    'export=7,0:4096',
    19,
    'ENODEV',
    'bad_region',
    1,
    7,
  ),
  rejected(
    'absent-bar',
    'an export of a BAR that the device does not have',
    'export=3,0:4096',
    19,
    'ENODEV',
    'bad_region',
    1,
    3,
  ),
  rejected(
    'claimed-bar',
    'an export of a BAR that another driver has claimed',
    'export=2,0:4096',
    19,
    'ENODEV',
    'bar_unavailable',
    1,
    2,
    ['claimed', `${PLAIN}/2`],
  ),
  rejected(
    'unmappable-bar',
    'an export from a device whose BARs cannot be mapped (non_mappable_bars)',
    'export=2,0:4096',
    19,
    'ENODEV',
    'not_mappable_bar',
    1,
    2,
    ['unmappable', PLAIN],
  ),
  rejected(
    'bad-pointer',
    'an export whose request the kernel cannot read',
    'export-bad-pointer=header',
    14,
    'EFAULT',
    'bad_pointer',
    0,
    0,
  ),
];
