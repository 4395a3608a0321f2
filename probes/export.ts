import { type Declaration, type FamilyDeclaration, field } from '../server/src/protocol/declaration.ts';
import { readFlag, readInteger } from '../server/src/protocol/readers.ts';
import {
  bytes,
  comm,
  device,
  errno,
  inode,
  kvm,
  kvm_pid,
  ns,
  pid,
  privacy,
  ranges,
  reason,
  t,
  vm_type,
} from './shared/fields.ts';
import { missedReturns } from './shared/missed-returns.ts';
import { policyViolations } from './shared/policy-violations.ts';

const duration = {
  name: 'export_duration',
  type: 'histogram',
  help: 'Duration of export calls, including rejected ones (vfio_pci_core_feature_dma_buf).',
  labels: [],
} as const satisfies FamilyDeclaration;

export const exported = {
  probe: 'export',
  records: [
    {
      name: 'export',
      tag: 2,
      event: true,
      fields: {
        t,
        ns,
        pid,
        device,
        errno,
        reason,
        region: field(readInteger, 'VFIO region index: the BAR number.'),
        ranges,
        bytes,
        inode,
        privacy,
        born_revoked: field(readFlag, 'Whether it was exported while memory decode was off.'),
        kvm,
        kvm_pid,
        vm_type,
        comm,
      },
    },
  ],
  maps: [
    {
      name: 'exports',
      number: 0,
      key: ['device', 'privacy'],
      holds: 'count',
      of: 'exports that gave a descriptor',
      feeds: {
        name: 'exports',
        type: 'counter',
        help: 'Exports that returned a descriptor (vfio_pci_core_feature_dma_buf).',
        labels: ['device', 'privacy'],
      },
    },
    {
      name: 'export_rejections',
      number: 2,
      key: ['device', 'errno', 'reason'],
      holds: 'count',
      of: 'exports that were rejected',
      feeds: {
        name: 'export_rejections',
        type: 'counter',
        help: 'Exports that the kernel rejected (vfio_pci_core_feature_dma_buf).',
        details: 'reason is deduced from the arguments of the call.',
        labels: ['device', 'reason', 'errno'],
      },
    },
    {
      name: 'export_bytes',
      number: 1,
      key: ['device', 'privacy'],
      holds: 'sum',
      of: 'the bytes of these exports',
      feeds: {
        name: 'exported_bytes',
        type: 'counter',
        help: 'Bytes of device memory that were exported (vfio_pci_core_feature_dma_buf).',
        labels: ['device', 'privacy'],
      },
    },
    {
      name: 'export_ns',
      number: 3,
      key: [],
      holds: 'sum',
      of: 'the duration of all export calls',
      feeds: duration,
    },
    {
      name: 'export_bucket',
      number: 4,
      key: ['bucket'],
      holds: 'count',
      of: 'export calls by duration',
      feeds: duration,
    },
  ],
  uses: [policyViolations, missedReturns],
} as const satisfies Declaration;
