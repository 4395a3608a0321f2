import assert from 'node:assert/strict';
import type { Scenario } from '../scenario.ts';
import {
  detached,
  exported,
  imported,
  KIB,
  opened,
  PLAIN,
  rejectedImport,
  revoked,
  sum,
  UNKNOWN_DEVICE,
  violation,
} from './names.ts';

/** A bind on AMD's public kernel, where KVM only checks the size. VM a owns the plain device. */
function amdBind(
  name: string,
  title: string,
  options: { setup?: string[]; bind: string; errno: number; reason: string; violation: string },
): Scenario {
  const { setup = [`device=${PLAIN},vm=a`, 'export=2,0:4096'], bind, errno, reason } = options;
  const accepted = errno === 0;
  const isExport = setup.some((step) => step.startsWith('export='));
  const isRevoked = setup.includes('memory=off');
  return {
    name: `private-amd-${name}`,
    title,
    dialect: 'private-amd',
    run: async (lab) => {
      const steps = await lab.session(
        'vm=a',
        'vm=b',
        ...setup,
        bind,
        ...(accepted ? ['unbind=0'] : []),
        'close=0',
      );
      assert.equal(steps[2 + setup.length]?.errno, errno);
    },
    metrics: sum(
      isExport ? { ...exported(PLAIN, 4 * KIB), releases_total: 1 } : {},
      isRevoked ? revoked(PLAIN, 'memory_enable') : {},
      accepted
        ? imported('kvm', 'bind', 1, isExport ? undefined : UNKNOWN_DEVICE)
        : rejectedImport('kvm', 'bind', errno === 19 ? 'ENODEV' : 'EINVAL', reason),
      accepted && isExport ? { ...imported('kvm', 'attach'), ...detached('kvm') } : {},
      options.violation === 'none' ? {} : { ...violation(options.violation), ...opened(options.violation) },
    ),
    events: [
      ...(isExport ? [{ kind: 'export', privacy: 'undeclared', errno: 0 } as const] : []),
      ...(isRevoked
        ? [{ kind: 'buffer_state', revoked: true } as const, { kind: 'revoke_call', revoked: true } as const]
        : []),
      ...(accepted && isExport
        ? [{ kind: 'import', stage: 'attach', importer: 'kvm', errno: 0 } as const]
        : []),
      {
        kind: 'bind',
        device: isExport ? PLAIN : 'unknown',
        errno,
        reason,
        violation: options.violation,
        privacy: 'undeclared',
        buffer_bytes: 4 * KIB,
      } as never,
      ...(accepted && isExport ? [{ kind: 'detach', importer: 'kvm' } as const] : []),
      ...(accepted ? [{ kind: 'unbind' } as const] : []),
      ...(isExport ? [{ kind: 'release' } as const] : []),
    ],
  };
}

export const PRIVATE_AMD: readonly Scenario[] = [
  amdBind('accepted', 'without a lookup KVM binds the buffer of its own VM', {
    bind: 'bind=0,vm=a',
    errno: 0,
    reason: 'none',
    violation: 'none',
  }),
  amdBind('foreign-vm', 'without a lookup KVM binds the buffer of another VM: a violation', {
    bind: 'bind=0,vm=b',
    errno: 0,
    reason: 'none',
    violation: 'foreign_vm',
  }),
  amdBind('no-vm', 'without a lookup KVM binds the buffer of a device that belongs to no VM: a violation', {
    setup: [`device=${PLAIN}`, 'export=2,0:4096'],
    bind: 'bind=0,vm=a',
    errno: 0,
    reason: 'none',
    violation: 'foreign_vm',
  }),
  amdBind('udmabuf', 'without a lookup KVM binds a buffer that VFIO did not export: a violation', {
    setup: ['udmabuf=4096'],
    bind: 'bind=0,vm=a',
    errno: 0,
    reason: 'none',
    violation: 'accepted_not_vfio',
  }),
  amdBind(
    'revoked',
    'KVM rejects a revoked buffer: the attach inside the bind is counted once, as the bind',
    {
      setup: [`device=${PLAIN},vm=a`, 'export=2,0:4096', 'memory=off'],
      bind: 'bind=0,vm=a',
      errno: 19,
      reason: 'revoked',
      violation: 'none',
    },
  ),
  amdBind('size-mismatch', 'KVM rejects a slot that is larger than the buffer', {
    bind: 'bind=0,vm=a,bytes=8192',
    errno: 22,
    reason: 'size_mismatch',
    violation: 'none',
  }),
];
