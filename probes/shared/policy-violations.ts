import { VIOLATIONS } from '../../server/src/protocol/codes.ts';
import type { Declaration, KnownOfHost } from '../../server/src/protocol/declaration.ts';

export const policyViolations = {
  maps: [
    {
      name: 'policy_violations',
      number: 17,
      key: ['violation'],
      holds: 'count',
      of: 'policy violations',
      feeds: {
        name: 'policy_violations',
        type: 'counter',
        help:
          'Calls that broke a rule for private exports ' +
          '(kvm_vfio_dmabuf_bind, vfio_pci_dma_buf_attach and others).',
        details:
          'foreign_vm: KVM accepted a buffer of the device of another VM. accepted_not_vfio: KVM accepted a ' +
          'buffer that VFIO did not export (kvm_vfio_dmabuf_bind). private_without_vm: a device without a VM ' +
          'made a private export (vfio_pci_core_feature_dma_buf). private_offered: an importer other than KVM ' +
          'tried to attach a private buffer (vfio_pci_dma_buf_attach). ' +
          'Absent if the kernel has no private exports.',
        labels: ['kind'],
        known: ({ countsViolation }: KnownOfHost) =>
          VIOLATIONS.filter((kind) => countsViolation(kind)).map((kind) => ({ kind })),
        // The other probes that count here are attached on kernels without private exports too.
        fedBy: ['bind', 'private_read'],
      },
    },
  ],
} as const satisfies Declaration;
