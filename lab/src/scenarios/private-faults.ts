import assert from 'node:assert/strict';
import type { GuestDialect } from '../guest.ts';
import type { ExpectedEvent, Scenario } from '../scenario.ts';
import {
  type BufferLabels,
  detached,
  exported,
  imported,
  KIB,
  makePrivate,
  opened,
  PLAIN,
  PRIVATE_BUFFER,
  PRIVATE_READ,
  PRIVATE_READ_REJECTED,
  rejectedImport,
  restored,
  revoked,
  sum,
  UNKNOWN_DEVICE,
  violation,
  zapped,
} from './names.ts';

/** VM a owns the plain device and has bound a buffer of it. */
const BOUND = ['vm=a', `device=${PLAIN},vm=a`, 'export=2,0:4096', 'bind=0,vm=a'];

/** What each bound buffer of 4 KiB changes until it is released, and its first and last events. */
function boundOn(dialect: GuestDialect) {
  const privacy = dialect === 'private-v1' ? 'private' : 'undeclared';
  const isLookedUp = dialect !== 'private-amd';
  const labels: BufferLabels = { device: PLAIN, privacy };
  const first: ExpectedEvent[] = [
    { kind: 'export', privacy, errno: 0 },
    ...(isLookedUp ? [{ kind: 'private_read', reader: 'kvm', errno: 0 } as const] : []),
    { kind: 'import', stage: 'attach', importer: 'kvm', errno: 0 },
    { kind: 'bind', errno: 0, reason: 'none', violation: 'none' },
  ];
  return {
    labels,
    first,
    last: [{ kind: 'detach', importer: 'kvm' }, { kind: 'unbind' }, { kind: 'release' }] as ExpectedEvent[],
    metrics: sum(
      exported(PLAIN, 4 * KIB, 1, privacy),
      isLookedUp ? PRIVATE_READ : {},
      imported('kvm', 'attach', 1, labels),
      imported('kvm', 'bind', 1, labels),
      detached('kvm', 1, labels),
      { releases_total: 1 },
    ),
  };
}

const RESOLVED: ExpectedEvent = { kind: 'import', stage: 'get_pfn', importer: 'kvm', errno: 0 };

function rejected(reason: string, errno = 5): ExpectedEvent {
  return { kind: 'import', stage: 'get_pfn', importer: 'kvm', errno, reason } as ExpectedEvent;
}

/** A guest touches revoked memory, and again after the restore. */
function revokedFault(name: string, dialect: GuestDialect): Scenario {
  const { labels, first, last, metrics } = boundOn(dialect);
  return {
    name,
    title:
      'KVM zaps a revoked buffer, cannot resolve two faults of the guest, and resolves one after the restore',
    dialect,
    run: async (lab) => {
      if (dialect === 'private-v1') await makePrivate(lab, PLAIN);
      const steps = await lab.session(
        ...BOUND,
        'fault=0',
        'memory=off',
        'fault=0',
        'fault=0',
        'memory=on',
        'fault=0',
        'unbind=0',
        'close=0',
      );
      assert.deepEqual(
        steps.slice(4).map(({ errno }) => errno),
        [0, 0, 5, 5, 0, 0, 0, 0],
      );
    },
    metrics: sum(
      metrics,
      imported('kvm', 'get_pfn', 2, labels),
      revoked(PLAIN, 'memory_enable'),
      restored(PLAIN, 'memory_enable'),
      zapped(PLAIN, 'memory_enable', { revokes: 1, restores: 1 }),
      rejectedImport('kvm', 'get_pfn', 'EIO', 'revoked', labels),
      rejectedImport('kvm', 'get_pfn', 'EIO', 'revoked', labels),
      opened('fault_rejected'),
    ),
    events: [
      ...first,
      RESOLVED,
      { kind: 'buffer_state', revoked: true },
      { kind: 'zap', device: PLAIN, revoked: true, cause: 'memory_enable' },
      { kind: 'revoke_call', revoked: true },
      rejected('revoked'),
      rejected('revoked'),
      { kind: 'buffer_state', revoked: false },
      { kind: 'zap', device: PLAIN, revoked: false, cause: 'memory_enable' },
      { kind: 'revoke_call', revoked: false },
      RESOLVED,
      ...last,
    ],
  };
}

/** A guest touches a slot whose buffer VFIO did not export. Its incidents close with the VM. */
function foreignFault(
  name: string,
  title: string,
  dialect: GuestDialect,
  { errno, errnoName, reason }: { errno: number; errnoName: string; reason: string },
): Scenario {
  const isLookedUp = dialect !== 'private-amd';
  return {
    name,
    title,
    dialect,
    run: async (lab) => {
      const open = async (kind: string): Promise<number | undefined> =>
        (await lab.samples()).get(`incidents{kind="${kind}"}`);
      const held = await lab.background(
        'foreign',
        'vm=a',
        'udmabuf=4096',
        'bind=0,vm=a,stale=0',
        'fault=0',
        'wait=/tmp/go',
        'close=0',
      );
      await lab.until('the incident to open', 60, async () => (await open('fault_rejected')) === 1);
      await lab.command('touch /tmp/go');
      const steps = await held.finish();
      assert.deepEqual([steps[2]?.errno, steps[3]?.errno], [0, errno]);
      await lab.command('rm /tmp/go');
      await lab.until('the incidents to close with their VM', 60, async () => {
        return (await open('fault_rejected')) === 0 && (await open('accepted_not_vfio')) === 0;
      });
    },
    metrics: sum(
      isLookedUp ? PRIVATE_READ_REJECTED : {},
      imported('kvm', 'bind', 1, UNKNOWN_DEVICE),
      violation('accepted_not_vfio'),
      opened('accepted_not_vfio'),
      rejectedImport('kvm', 'get_pfn', errnoName, reason, UNKNOWN_DEVICE),
      opened('fault_rejected'),
    ),
    events: [
      ...(isLookedUp ? [{ kind: 'private_read', reader: 'kvm', errno: 22 } as const] : []),
      { kind: 'bind', errno: 0, violation: 'accepted_not_vfio' },
      rejected(reason, errno),
      ...(isLookedUp ? [] : [{ kind: 'unbind' } as const]),
    ],
  };
}

const V1 = boundOn('private-v1');

/** Faults of guests on bound buffers, and memory slots that KVM rejects around the bind. */
export const PRIVATE_FAULTS: readonly Scenario[] = [
  {
    name: 'private-fault-resolved',
    title: 'KVM resolves faults of the guest; only the first of a slot is an event',
    dialect: 'private-v1',
    run: async (lab) => {
      await makePrivate(lab, PLAIN);
      const steps = await lab.session(...BOUND, 'fault=0', 'fault=0', 'fault=0', 'unbind=0', 'close=0');
      assert.equal(steps[6]?.errno, 0);
    },
    metrics: sum(V1.metrics, imported('kvm', 'get_pfn', 3, PRIVATE_BUFFER)),
    events: [...V1.first, RESOLVED, ...V1.last],
  },
  revokedFault('private-fault-revoked', 'private-v1'),
  {
    name: 'private-fault-beyond-buffer',
    title:
      'KVM cannot resolve a fault on a page beyond the buffer; a fault on another page does not end the incident',
    dialect: 'private-v1',
    run: async (lab) => {
      await makePrivate(lab, PLAIN);
      const steps = await lab.session(...BOUND, 'fault=0,offset=4096', 'fault=0', 'unbind=0', 'close=0');
      assert.deepEqual([steps[4]?.errno, steps[5]?.errno], [5, 0]);
    },
    metrics: sum(
      V1.metrics,
      rejectedImport('kvm', 'get_pfn', 'EIO', 'beyond_buffer', PRIVATE_BUFFER),
      imported('kvm', 'get_pfn', 1, PRIVATE_BUFFER),
      opened('fault_rejected'),
    ),
    events: [...V1.first, rejected('beyond_buffer'), RESOLVED, ...V1.last],
  },
  foreignFault('private-fault-no-attachment', 'a guest touches a slot without a buffer', 'private-v1', {
    errno: 14,
    errnoName: 'EFAULT',
    reason: 'no_attachment',
  }),
  {
    name: 'private-bind-slot-flags',
    title: 'KVM rejects a slot with dirty logging, and one with an offset, before the bind',
    dialect: 'private-v1',
    run: async (lab) => {
      await makePrivate(lab, PLAIN);
      const steps = await lab.session(
        'vm=a',
        `device=${PLAIN},vm=a`,
        'export=2,0:4096',
        'bind=0,vm=a,flags=9',
        'bind=0,vm=a,region-offset=4096',
        'close=0',
      );
      assert.deepEqual([steps[3]?.errno, steps[4]?.errno], [22, 22]);
    },
    metrics: sum(
      exported(PLAIN, 4 * KIB, 1, 'private'),
      rejectedImport('kvm', 'bind', 'EINVAL', 'slot_flags', UNKNOWN_DEVICE),
      rejectedImport('kvm', 'bind', 'EINVAL', 'slot_flags', UNKNOWN_DEVICE),
      { releases_total: 1 },
    ),
    events: [
      { kind: 'export', privacy: 'private', errno: 0 },
      { kind: 'bind', device: 'unknown', errno: 22, reason: 'slot_flags', slot_bytes: 4 * KIB },
      { kind: 'bind', device: 'unknown', errno: 22, reason: 'slot_flags', slot_bytes: 4 * KIB },
      { kind: 'release' },
    ],
  },
  {
    name: 'private-bind-rolled-back',
    title:
      'KVM binds a buffer, rejects the slot and unbinds the buffer in one call: a rejection, not a success',
    dialect: 'private-v1',
    run: async (lab) => {
      await makePrivate(lab, PLAIN);
      const steps = await lab.session(...BOUND.slice(0, 3), 'bind=0,vm=a,memslot=-12', 'close=0');
      assert.equal(steps[3]?.errno, 12);
    },
    metrics: sum(
      exported(PLAIN, 4 * KIB, 1, 'private'),
      PRIVATE_READ,
      imported('kvm', 'attach', 1, PRIVATE_BUFFER),
      detached('kvm', 1, PRIVATE_BUFFER),
      rejectedImport('kvm', 'bind', 'ENOMEM', 'rolled_back', PRIVATE_BUFFER),
      { releases_total: 1 },
    ),
    events: [
      ...V1.first,
      { kind: 'detach', importer: 'kvm' },
      { kind: 'unbind' },
      {
        kind: 'bind',
        device: PLAIN,
        errno: 12,
        reason: 'rolled_back',
        privacy: 'private',
        buffer_bytes: 4 * KIB,
      },
      { kind: 'release' },
    ],
  },
  revokedFault('private-v2-fault-revoked', 'private-v2'),
  revokedFault('private-amd-fault-revoked', 'private-amd'),
  foreignFault(
    'private-amd-fault-unsupported',
    'a guest touches a buffer whose exporter cannot resolve faults',
    'private-amd',
    { errno: 5, errnoName: 'EIO', reason: 'get_pfn_unsupported' },
  ),
];
