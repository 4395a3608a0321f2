import assert from 'node:assert/strict';
import type { Scenario } from '../scenario.ts';
import {
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
  RESETTABLE,
  rejectedImport,
  sum,
  UNKNOWN_DEVICE,
  violation,
} from './names.ts';
import { PRIVATE_AMD } from './private-amd.ts';
import { PRIVATE_FAULTS } from './private-faults.ts';

/** A bind that KVM rejects. VM a owns the plain device, unless `device` opens it without a VM. */
function rejectedBind(
  name: string,
  title: string,
  reason: string,
  options: { isPrivate: boolean; device?: string; bind: string; read: boolean },
): Scenario {
  const privacy = options.isPrivate ? 'private' : 'shared';
  return {
    name: `private-bind-${name}`,
    title,
    dialect: 'private-v1',
    run: async (lab) => {
      await makePrivate(lab, options.isPrivate ? PLAIN : '');
      const steps = await lab.session(
        'vm=a',
        'vm=b',
        options.device ?? `device=${PLAIN},vm=a`,
        'export=2,0:4096',
        options.bind,
        'close=0',
      );
      assert.equal(steps[4]?.errno, 22);
    },
    metrics: sum(
      exported(PLAIN, 4 * KIB, 1, privacy),
      options.read ? PRIVATE_READ : {},
      rejectedImport('kvm', 'bind', 'EINVAL', reason, { device: PLAIN, privacy }),
      reason === 'no_vm' ? violation('private_without_vm') : {},
      reason === 'no_vm' ? opened('private_without_vm') : {},
      { releases_total: 1 },
    ),
    events: [
      { kind: 'export', privacy, errno: 0 },
      ...(options.read
        ? [{ kind: 'private_read', reader: 'kvm', device: PLAIN, errno: 0, privacy } as never]
        : []),
      { kind: 'bind', errno: 22, reason, violation: 'none', buffer_bytes: 4 * KIB } as never,
      { kind: 'release' },
    ],
  };
}

/**
 * A bind of a buffer that VFIO did not export. `stale` is the value of the variable that the posted code leaves unset.
 */
function foreign(name: string, title: string, source: string, stale: number): Scenario {
  const accepted = stale === 0;
  return {
    name: `private-bind-${name}`,
    title,
    dialect: 'private-v1',
    run: async (lab) => {
      const steps = ['vm=a', source, `bind=0,vm=a,stale=${stale}`];
      if (!accepted) {
        assert.equal((await lab.session(...steps, 'close=0'))[2]?.errno, 22);
        return;
      }
      const open = async (): Promise<number | undefined> =>
        (await lab.samples()).get('incidents{kind="accepted_not_vfio"}');
      // Keep the VM until its incident is open, because only the end of the VM closes the incident.
      const held = await lab.background('foreign', ...steps, 'wait=/tmp/go', 'close=0');
      await lab.until('the incident to open', 60, async () => (await open()) === 1);
      await lab.command('touch /tmp/go');
      assert.equal((await held.finish())[2]?.errno, 0);
      await lab.command('rm /tmp/go');
      await lab.until('the incident to close with its VM', 60, async () => (await open()) === 0);
    },
    metrics: sum(
      PRIVATE_READ_REJECTED,
      accepted
        ? {
            ...imported('kvm', 'bind', 1, UNKNOWN_DEVICE),
            ...opened('accepted_not_vfio'),
            'policy_violations_total{kind="accepted_not_vfio"}': 1,
          }
        : rejectedImport('kvm', 'bind', 'EINVAL', 'not_vfio', UNKNOWN_DEVICE),
    ),
    events: [
      { kind: 'private_read', reader: 'kvm', errno: 22, reason: 'not_vfio' },
      accepted
        ? { kind: 'bind', errno: 0, reason: 'none', violation: 'accepted_not_vfio' }
        : { kind: 'bind', errno: 22, reason: 'not_vfio', violation: 'none' },
    ],
  };
}

export const PRIVATE: readonly Scenario[] = [
  {
    name: 'private-export',
    title: 'a private and a shared export of two devices',
    dialect: 'private-v1',
    run: async (lab) => {
      await makePrivate(lab, PLAIN);
      await lab.session(
        `device=${PLAIN}`,
        'export=2,0:4096',
        `device=${RESETTABLE}`,
        'export=2,0:8192',
        'close=0',
        'close=1',
      );
    },
    metrics: sum(
      exported(PLAIN, 4 * KIB, 1, 'private'),
      exported(RESETTABLE, 8 * KIB, 1, 'shared'),
      violation('private_without_vm'),
      opened('private_without_vm'),
      {
        releases_total: 2,
      },
    ),
    events: [
      { kind: 'export', device: PLAIN, privacy: 'private', errno: 0 },
      { kind: 'export', device: RESETTABLE, privacy: 'shared', errno: 0 },
      { kind: 'release', device: PLAIN },
      { kind: 'release', device: RESETTABLE },
    ],
  },
  {
    name: 'private-bind-accepted',
    title: 'KVM binds a private buffer for the VM that owns the device',
    dialect: 'private-v1',
    run: async (lab) => {
      await makePrivate(lab, PLAIN);
      const steps = await lab.session(
        'vm=a',
        `device=${PLAIN},vm=a`,
        'export=2,0:4096',
        'bind=0,vm=a',
        'unbind=0',
        'close=0',
      );
      assert.equal(steps[3]?.errno, 0);
    },
    metrics: sum(
      exported(PLAIN, 4 * KIB, 1, 'private'),
      PRIVATE_READ,
      imported('kvm', 'attach', 1, PRIVATE_BUFFER),
      imported('kvm', 'bind', 1, PRIVATE_BUFFER),
      detached('kvm', 1, PRIVATE_BUFFER),
      { releases_total: 1 },
    ),
    events: [
      { kind: 'export', privacy: 'private', errno: 0 },
      { kind: 'private_read', reader: 'kvm', device: PLAIN, errno: 0, reason: 'none', privacy: 'private' },
      { kind: 'import', stage: 'attach', importer: 'kvm', errno: 0 },
      {
        kind: 'bind',
        device: PLAIN,
        errno: 0,
        reason: 'none',
        violation: 'none',
        privacy: 'private',
        slot_bytes: 4 * KIB,
        buffer_bytes: 4 * KIB,
      },
      { kind: 'detach', importer: 'kvm' },
      { kind: 'unbind', device: PLAIN },
      { kind: 'release', device: PLAIN },
    ],
  },
  {
    name: 'private-offered',
    title:
      'a private buffer is offered to two other importers: one attaches, one is rejected, both are violations',
    dialect: 'private-v1',
    run: async (lab) => {
      await makePrivate(lab, PLAIN);
      const steps = await lab.session(
        'vm=a',
        `device=${PLAIN},vm=a`,
        'export=2,0:4096',
        'attach=0,p2p,invalidate',
        'detach=0',
        'vgem=0',
        'close=0',
      );
      assert.deepEqual(
        steps.map((step) => step.errno),
        [0, 0, 0, 0, 0, 95, 0],
      );
    },
    metrics: sum(
      exported(PLAIN, 4 * KIB, 1, 'private'),
      imported('lab_importer', 'attach', 1, PRIVATE_BUFFER),
      violation('private_offered'),
      rejectedImport('vgem', 'attach', 'EOPNOTSUPP', 'no_peer_to_peer', PRIVATE_BUFFER),
      violation('private_offered'),
      opened('private_offered'),
      opened('private_offered'),
      detached('lab_importer', 1, PRIVATE_BUFFER),
      { releases_total: 1 },
    ),
    events: [
      { kind: 'export', privacy: 'private', errno: 0 },
      { kind: 'import', stage: 'attach', importer: 'lab_importer', errno: 0 },
      { kind: 'detach', importer: 'lab_importer' },
      { kind: 'import', stage: 'attach', importer: 'vgem', errno: 95, reason: 'no_peer_to_peer' },
      { kind: 'release' },
    ],
  },
  rejectedBind('not-private', 'KVM rejects a shared buffer', 'not_private', {
    isPrivate: false,
    bind: 'bind=0,vm=a',
    read: true,
  }),
  rejectedBind('vm-mismatch', 'KVM rejects a private buffer of another VM', 'vm_mismatch', {
    isPrivate: true,
    bind: 'bind=0,vm=b',
    read: true,
  }),
  rejectedBind('no-vm', 'KVM rejects a private buffer of a device that belongs to no VM', 'no_vm', {
    isPrivate: true,
    device: `device=${PLAIN}`,
    bind: 'bind=0,vm=a',
    read: true,
  }),
  rejectedBind('size-mismatch', 'KVM rejects a slot that is larger than the buffer', 'size_mismatch', {
    isPrivate: true,
    bind: 'bind=0,vm=a,bytes=8192',
    read: false,
  }),
  foreign(
    'udmabuf',
    'the lookup of a foreign buffer (udmabuf) is rejected, and so is its bind',
    'udmabuf=4096',
    -22,
  ),
  foreign(
    'heap',
    'the lookup of a foreign buffer (system heap) is rejected, and so is its bind',
    'heap=4096',
    -22,
  ),
  foreign(
    'after-failed-lookup',
    'a bind that reports success although the lookup failed is a policy violation',
    'udmabuf=4096',
    0,
  ),
  {
    name: 'private-v2-undeclared',
    title: 'without is_private the kernel checks only the VM: accepted for its own, rejected for another',
    dialect: 'private-v2',
    run: async (lab) => {
      const steps = await lab.session(
        'vm=a',
        'vm=b',
        `device=${PLAIN},vm=a`,
        'export=2,0:4096',
        'bind=0,vm=a',
        'bind=0,vm=b',
        'unbind=0',
        'close=0',
      );
      assert.deepEqual([steps[4]?.errno, steps[5]?.errno], [0, 22]);
    },
    metrics: sum(
      exported(PLAIN, 4 * KIB),
      PRIVATE_READ,
      PRIVATE_READ,
      imported('kvm', 'attach'),
      imported('kvm', 'bind'),
      rejectedImport('kvm', 'bind', 'EINVAL', 'vm_mismatch'),
      detached('kvm'),
      { releases_total: 1 },
    ),
    events: [
      { kind: 'export', privacy: 'undeclared', errno: 0 },
      { kind: 'private_read', reader: 'kvm', errno: 0, privacy: 'undeclared' },
      { kind: 'import', stage: 'attach', importer: 'kvm', errno: 0 },
      { kind: 'bind', errno: 0, violation: 'none' },
      { kind: 'private_read', reader: 'kvm', errno: 0 },
      { kind: 'bind', errno: 22, reason: 'vm_mismatch' },
      { kind: 'detach', importer: 'kvm' },
      { kind: 'unbind' },
      { kind: 'release' },
    ],
  },
  ...PRIVATE_AMD,
  ...PRIVATE_FAULTS,
];
