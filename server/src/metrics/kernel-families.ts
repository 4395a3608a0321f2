import { READERS, VIOLATIONS } from '../stream/codes.ts';
import { type FamilySpec, fedBy, kernelCounter, kernelHistogram } from './family.ts';

const IMPORT_PROBES = ['attach', 'map', 'iommufd_map', 'bind'] as const;
/** The probes that count a call at its return, and calls whose return they missed. */
const RETURN_PROBES = [...IMPORT_PROBES, 'export', 'revoke', 'private_read'] as const;
const ABSENT_WITHOUT_HELPER = 'Absent where the kernel has no vfio_dma_buf_get_data (no private dialect).';

const readers = READERS.map((importer) => ({ importer }));

/** What the probes count in kernel maps: exact, whatever becomes of the event stream. */
export const KERNEL_FAMILIES: readonly FamilySpec[] = [
  kernelCounter({
    name: 'exports_total',
    help: 'Exports of device memory as a dma-buf that gave a descriptor (vfio_pci_core_feature_dma_buf).',
    counter: 'exports',
    present: fedBy('export'),
  }),
  kernelCounter({
    name: 'export_failures_total',
    help: 'Exports that the kernel refused (vfio_pci_core_feature_dma_buf), by the reason decided from its arguments.',
    counter: 'export_failures',
    present: fedBy('export'),
  }),
  kernelCounter({
    name: 'exported_bytes_total',
    help: 'Bytes of device memory in exports that gave a descriptor (vfio_pci_core_feature_dma_buf).',
    counter: 'exported_bytes',
    present: fedBy('export'),
  }),
  kernelHistogram({
    name: 'export_duration_seconds',
    help: 'Duration of export calls, refused ones too (vfio_pci_core_feature_dma_buf).',
    histogram: 'export_duration',
    known: [{}],
    present: fedBy('export'),
  }),
  kernelCounter({
    name: 'releases_total',
    help: 'VFIO dma-bufs whose last reference is gone (dma_buf_file_release).',
    counter: 'releases',
    known: [{}],
    present: fedBy('release'),
  }),
  kernelCounter({
    name: 'imports_total',
    help:
      'Import steps that succeeded: attach (vfio_pci_dma_buf_attach), map (vfio_pci_dma_buf_map), ' +
      'iommufd (vfio_pci_dma_buf_iommufd_map), bind (kvm_vfio_dmabuf_bind).',
    counter: 'imports',
    present: fedBy(...IMPORT_PROBES),
  }),
  kernelCounter({
    name: 'import_rejections_total',
    help:
      'Import steps that the kernel refused: attach (vfio_pci_dma_buf_attach), map (vfio_pci_dma_buf_map), ' +
      'iommufd (vfio_pci_dma_buf_iommufd_map), bind (kvm_vfio_dmabuf_bind).',
    counter: 'import_rejections',
    present: fedBy(...IMPORT_PROBES),
  }),
  kernelHistogram({
    name: 'import_duration_seconds',
    help:
      'Duration of import steps, refused ones too (vfio_pci_dma_buf_attach, vfio_pci_dma_buf_map, ' +
      'vfio_pci_dma_buf_iommufd_map, kvm_vfio_dmabuf_bind).',
    histogram: 'import_duration',
    present: fedBy(...IMPORT_PROBES),
  }),
  kernelCounter({
    name: 'detaches_total',
    help: 'Importers that let go of a VFIO dma-buf (dma_buf_detach).',
    counter: 'detaches',
    present: fedBy('detach'),
  }),
  kernelCounter({
    name: 'revocations_total',
    help: 'Buffers whose memory was taken away from all importers (vfio_pci_dma_buf_move), by the caller that did it.',
    counter: 'revocations',
    present: fedBy('revoke'),
  }),
  kernelCounter({
    name: 'restorations_total',
    help: 'Revoked buffers that may be mapped again (vfio_pci_dma_buf_move), by the caller that did it.',
    counter: 'restorations',
    present: fedBy('revoke'),
  }),
  kernelHistogram({
    name: 'revocation_duration_seconds',
    help:
      'Duration of kernel calls that revoked at least one buffer (vfio_pci_dma_buf_move): since 7.1 they wait for ' +
      'every importer.',
    histogram: 'revocation_duration',
    known: [{}],
    present: fedBy('revoke'),
  }),
  kernelCounter({
    name: 'private_data_reads_total',
    help: `Reads of a buffer's VFIO data by an importer that gave data (vfio_dma_buf_get_data). ${ABSENT_WITHOUT_HELPER}`,
    counter: 'private_data_reads',
    known: readers,
    present: fedBy('private_read'),
  }),
  kernelCounter({
    name: 'private_data_read_failures_total',
    help: `Reads of a buffer's VFIO data that were refused (vfio_dma_buf_get_data). ${ABSENT_WITHOUT_HELPER}`,
    counter: 'private_data_read_failures',
    present: fedBy('private_read'),
  }),
  kernelCounter({
    name: 'policy_violations_total',
    help:
      'Binds that KVM accepted against its own rules (kvm_vfio_dmabuf_bind): of a buffer of another VM, or after its ' +
      'lookup had failed (vfio_dma_buf_get_data). Absent where the kernel has no such bind.',
    counter: 'policy_violations',
    known: VIOLATIONS.filter((kind) => kind !== 'none').map((kind) => ({ kind })),
    present: fedBy('bind'),
  }),
  kernelCounter({
    name: 'missed_returns_total',
    help:
      'Calls of traced functions whose return was not seen because all instances of the return probe were in use, as ' +
      'told by the next call of the same task. Such a call is in no other counter and gave no event.',
    counter: 'missed_returns',
    known: [{}],
    present: fedBy(...RETURN_PROBES),
  }),
];
