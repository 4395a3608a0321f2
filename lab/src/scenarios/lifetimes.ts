import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BufferView } from '../../../server/src/contract/buffers.ts';
import type { Incident } from '../../../server/src/contract/incidents.ts';
import { architectureOf } from '../kernels.ts';
import type { Lab } from '../lab.ts';
import type { Scenario } from '../scenario.ts';
import {
  detached,
  exported,
  IOMMUFD_ATTACHES,
  imported,
  KIB,
  opened,
  PLAIN,
  rejectedImport,
  sum,
} from './names.ts';

const RUNBOOKS = join(import.meta.dirname, '../../../docs/runbooks');

async function buffers(lab: Lab): Promise<BufferView[]> {
  const { body } = await lab.get('/api/v1/buffers');
  return (JSON.parse(body) as { buffers: BufferView[] }).buffers.filter(({ state }) => state !== 'released');
}

/** The mark of a VM (an argument of the step `vm`), and the kind that the tracer must report. */
const KINDS = [
  ['type=0', 'default'],
  ['type=1', 'sw_protected'],
  ['type=2', 'sev'],
  ['type=3', 'sev_es'],
  ['type=4', 'snp'],
  ['type=5', 'tdx'],
  ['type=9', 'type_9'],
  ['sev', 'sev'],
  ['sev-es', 'sev_es'],
] as const;

export const LIFETIMES: readonly Scenario[] = [
  {
    name: 'owner-killed',
    title: 'the exporting process is killed with SIGKILL: its buffer is released',
    dialect: 'mainline',
    run: async (lab) => {
      await lab.guest.run(lab.sessionCommand(`device=${PLAIN}`, 'export=2,0:4096', 'kill'));
      await lab.settle();
      assert.deepEqual(await buffers(lab), []);
    },
    metrics: sum(exported(PLAIN, 4 * KIB), { releases_total: 1 }),
    events: [
      { kind: 'export', errno: 0 },
      { kind: 'release', device: PLAIN },
    ],
  },
  {
    name: 'owner-gone-holder-known',
    title:
      'the exporter passed the descriptor on and was killed: the buffer is revoked, and the API lists its holder',
    dialect: 'mainline',
    run: async (lab) => {
      await lab.command(
        '(/lab/bin/holder /tmp/holder.sock >/tmp/holder.out 2>&1 & echo $! >/tmp/holder.pid); sleep 1',
      );
      await lab.guest.run(
        lab.sessionCommand(
          `device=${PLAIN}`,
          'export=2,0:4096',
          'send=0,/tmp/holder.sock',
          'sleep=3',
          'kill',
        ),
      );
      const holder = Number(await lab.command('cat /tmp/holder.pid'));
      await lab.until('the API to list the holder', 60, async () => {
        const [buffer] = await buffers(lab);
        return (
          buffer?.owner?.gone === true &&
          buffer.holders.some(({ pid, comm }) => pid === holder && comm === 'holder')
        );
      });
      const [buffer] = await buffers(lab);
      assert.equal(buffer?.state, 'revoked');
      assert.equal(buffer?.device, PLAIN);
      await lab.until('the incident `orphaned` to open', 60, async () => {
        const incidents = await lab.openIncidents('orphaned');
        return incidents.some(({ holders }) => holders.some(({ pid }) => pid === holder));
      });
      await lab.command('kill $(cat /tmp/holder.pid); sleep 0.5');
    },
    metrics: sum(exported(PLAIN, 4 * KIB), opened('orphaned'), {
      [`revocations_total{cause="device_close",device="${PLAIN}"}`]: 1,
      revocation_duration_seconds_count: 1,
      releases_total: 1,
    }),
    events: [
      { kind: 'export', errno: 0, comm: 'session' },
      { kind: 'buffer_state', revoked: true, cause: 'device_close' },
      { kind: 'revoke_call', revoked: true, cause: 'device_close', buffers: 1 },
      { kind: 'release', device: PLAIN, comm: 'holder' },
    ],
  },
  {
    name: 'late-release',
    title:
      'a descriptor with O_PATH outlives the file of the buffer: VFIO cannot release it until it is closed',
    dialect: 'mainline',
    run: async (lab) => {
      const held = await lab.background(
        'late',
        `device=${PLAIN}`,
        'export=2,0:4096',
        'hold-path=0',
        'close=0',
        'wait=/tmp/go',
        'drop-path=0',
      );
      await lab.until('the incident `late_release` to open', 60, async () => {
        const [incident] = await lab.openIncidents('late_release');
        return incident?.device === PLAIN && incident.severity === 'critical';
      });
      assert.deepEqual(await buffers(lab), [], 'nothing can import the buffer');
      // The script of the runbook finds the process.
      const runbook = readFileSync(join(RUNBOOKS, 'VfioDmabufLateRelease.md'), 'utf8');
      const [script = ''] = /^for fd in [\s\S]*?^done$/m.exec(runbook) ?? [];
      const pid = (await lab.events(0)).findLast(({ kind }) => kind === 'export')?.pid;
      assert.match(await lab.command(script), new RegExp(`^/proc/${pid}/fd/\\d+ inode \\d+$`, 'm'));
      await lab.command('touch /tmp/go');
      await held.finish();
      await lab.command('rm /tmp/go');
      await lab.until(
        'the incident to close',
        60,
        async () => (await lab.openIncidents('late_release')).length === 0,
      );
    },
    metrics: sum(exported(PLAIN, 4 * KIB), opened('late_release'), {
      [`late_releases_total{device="${PLAIN}"}`]: 1,
      releases_total: 1,
    }),
    events: [
      { kind: 'export', errno: 0, comm: 'session' },
      { kind: 'release', device: PLAIN },
      { kind: 'late_release', device: PLAIN, done: false },
      { kind: 'late_release', device: PLAIN, done: true },
    ],
  },
  {
    name: 'born-revoked',
    title: 'an export while memory decode is off is born revoked, and every import of it is rejected',
    dialect: 'mainline',
    run: async (lab) => {
      const steps = await lab.session(
        `device=${PLAIN}`,
        'memory=off',
        'export=2,0:4096',
        'iommufd=0',
        'close=0',
      );
      assert.deepEqual(
        steps.map(({ errno }) => errno),
        [0, 0, 0, 19, 0],
      );
    },
    metrics: sum(exported(PLAIN, 4 * KIB), rejectedImport('iommufd', 'attach', 'ENODEV', 'revoked'), {
      releases_total: 1,
      ...opened('born_revoked'),
    }),
    events: [
      { kind: 'export', errno: 0, born_revoked: true },
      { kind: 'import', stage: 'attach', importer: 'iommufd', errno: 19, reason: 'revoked' },
      { kind: 'release', device: PLAIN },
    ],
  },
  {
    name: 'device-of-a-vm',
    title: 'the device is linked to a KVM VM: the export names the VM',
    dialect: 'mainline',
    run: async (lab) => {
      const held = await lab.background(
        'vm',
        'vm=a',
        `device=${PLAIN},vm=a`,
        'export=2,0:4096',
        'wait=/tmp/go',
        'close=0',
      );
      await lab.until('the buffer in /api/v1/buffers', 30, async () => (await buffers(lab)).length === 1);
      const [buffer] = await buffers(lab);
      assert.equal(buffer?.vm?.pid, held.pid);
      // Only x86 has a VM type (kvm->arch.vm_type).
      const isX86 = architectureOf(lab.options.kernel) === 'amd64';
      assert.equal(buffer?.vm?.kind, isX86 ? 'default' : 'unknown');
      await lab.command('touch /tmp/go');
      await held.finish();
      await lab.command('rm /tmp/go');
    },
    metrics: sum(exported(PLAIN, 4 * KIB), { releases_total: 1 }),
    events: [
      { kind: 'export', device: PLAIN, errno: 0 },
      { kind: 'release', device: PLAIN },
    ],
  },
  {
    name: 'vm-kinds',
    title:
      'the kind of a VM comes from its type; SEV and SEV-ES are also recognized in a VM of the default type',
    dialect: 'mainline',
    run: async (lab) => {
      const before = (await lab.events(0)).at(-1)?.seq ?? 0;
      const steps = await lab.session(
        ...KINDS.flatMap(([marks], index) => [
          `vm=v${index},${marks}`,
          `device=${PLAIN},vm=v${index}`,
          'export=2,0:4096',
          `close=${index}`,
          `close-device=${PLAIN}`,
          `close-vm=v${index}`,
        ]),
      );
      assert.deepEqual(
        steps.filter(({ errno }) => errno !== 0),
        [],
      );
      await lab.settle();
      const exports = (await lab.events(before)).filter((event) => event.kind === 'export');
      assert.deepEqual(
        exports.map(({ vm }) => vm?.kind),
        KINDS.map(([, kind]) => kind),
      );
    },
    metrics: sum(exported(PLAIN, KINDS.length * 4 * KIB, KINDS.length), { releases_total: KINDS.length }),
    events: KINDS.flatMap(() => [
      { kind: 'export', device: PLAIN, errno: 0 },
      { kind: 'release', device: PLAIN },
    ]),
  },
  {
    name: 'confidential-shared',
    title: 'iommufd attaches a buffer from an SEV guest: an incident is open until the buffer is released',
    dialect: 'mainline',
    run: async (lab) => {
      const incident = async (): Promise<Incident | undefined> =>
        (await lab.openIncidents('confidential_shared'))[0];
      const held = await lab.background(
        'guarded',
        'vm=guarded,sev',
        `device=${PLAIN},vm=guarded`,
        'export=2,0:4096',
        'iommufd=0',
        'wait=/tmp/go',
        'iommufd-unmap=0',
        'close=0',
      );
      await lab.until('the incident to open', 30, async () => (await incident()) !== undefined);
      const open = await incident();
      assert.deepEqual(
        [
          open?.severity,
          open?.device,
          open?.vm?.pid,
          open?.vm?.kind,
          open?.importers.map((by) => by.importer),
        ],
        ['critical', PLAIN, held.pid, 'sev', ['iommufd']],
      );
      await lab.command('touch /tmp/go');
      await held.finish();
      await lab.command('rm /tmp/go');
      await lab.settle();
      assert.equal(await incident(), undefined, 'the incident closes when the buffer is released');
    },
    metrics: sum(
      exported(PLAIN, 4 * KIB),
      IOMMUFD_ATTACHES,
      imported('iommufd', 'iommufd'),
      opened('confidential_shared'),
      detached('iommufd'),
      { releases_total: 1 },
    ),
    events: [
      { kind: 'export', device: PLAIN, errno: 0 },
      { kind: 'import', stage: 'attach', importer: 'iommufd', errno: 0 },
      { kind: 'import', stage: 'pin', importer: 'iommufd', errno: 0 },
      { kind: 'import', stage: 'iommufd', importer: 'iommufd', errno: 0 },
      { kind: 'detach', device: PLAIN, importer: 'iommufd' },
      { kind: 'release', device: PLAIN },
    ],
  },
];
