import { READERS, VIOLATIONS } from '../stream/codes.ts';
import { type FamilySpec, fedBy, kernelCounter, kernelHistogram } from './family.ts';

/** The exporter's answers, the dma-buf core's own, and those of the importers' calls around them (probes/README.md). */
const IMPORT_PROBES = [
  ...['attach', 'pin', 'map', 'iommufd_map', 'bind', 'core_attach', 'core_pin', 'core_map', 'vmap'],
  ...['iommufd_file', 'rdma', 'rdma_map', 'prime', 'videobuf2', 'devmem'],
] as const;
const IMPORT_STAGES =
  'attach (dma_buf_dynamic_attach), pin (dma_buf_pin), map (dma_buf_map_attachment), vmap (dma_buf_vmap, dma_buf_mmap), ' +
  'iommufd (iommufd_ioas_map_file), bind (kvm_vfio_dmabuf_bind), rdma (ib_umem_dmabuf_get), prime ' +
  '(drm_gem_prime_fd_to_handle), videobuf2 (attach_dmabuf), devmem (net_devmem_bind_dmabuf)';
/** The probes that count a call at its return, and calls whose return they missed. */
const RETURN_PROBES = [...IMPORT_PROBES, 'export', 'revoke', 'private_read'] as const;
const OF_THE_BUFFER = 'device is the exporting device, and privacy that of the buffer.';
const CLOSED_BEFORE = 'device is unknown where the device was closed before the call.';
const NOT_OF_VFIO =
  'device is unknown where the device was closed before the call, and where KVM binds a buffer that VFIO did not export.';
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
    name: 'export_rejections_total',
    help: 'Exports that the kernel rejected (vfio_pci_core_feature_dma_buf), by the reason decided from its arguments.',
    counter: 'export_rejections',
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
    help: 'Duration of export calls, rejected ones too (vfio_pci_core_feature_dma_buf).',
    histogram: 'export_duration',
    known: [{}],
    present: fedBy('export'),
  }),
  kernelCounter({
    name: 'releases_total',
    help: 'VFIO dma-bufs whose last reference is gone (dma_buf_file_release).',
    counter: 'releases',
    known: () => [{}],
    present: fedBy('release'),
  }),
  kernelCounter({
    name: 'imports_total',
    help: `Import calls that succeeded, by stage: ${IMPORT_STAGES}. ${OF_THE_BUFFER} ${NOT_OF_VFIO}`,
    counter: 'imports',
    present: fedBy(...IMPORT_PROBES),
  }),
  kernelCounter({
    name: 'import_rejections_total',
    help: `Import calls that the kernel rejected, each counted once, at the layer that rejected it: ${IMPORT_STAGES}. ${OF_THE_BUFFER} ${NOT_OF_VFIO}`,
    counter: 'import_rejections',
    present: fedBy(...IMPORT_PROBES),
  }),
  kernelHistogram({
    name: 'import_duration_seconds',
    help: `Duration of import steps, rejected ones too: ${IMPORT_STAGES}.`,
    histogram: 'import_duration',
    present: fedBy(...IMPORT_PROBES),
  }),
  kernelCounter({
    name: 'detaches_total',
    help: `Detaches of importers from VFIO dma-bufs (dma_buf_detach). ${OF_THE_BUFFER} ${CLOSED_BEFORE}`,
    counter: 'detaches',
    present: fedBy('detach'),
  }),
  kernelCounter({
    name: 'unmaps_total',
    help: `Mappings that importers ended (vfio_pci_dma_buf_unmap). ${OF_THE_BUFFER} ${CLOSED_BEFORE}`,
    counter: 'unmaps',
    present: fedBy('unmap'),
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
    known: () => readers,
    present: fedBy('private_read'),
  }),
  kernelCounter({
    name: 'private_data_read_failures_total',
    help: `Reads of a buffer's VFIO data that were rejected (vfio_dma_buf_get_data). ${ABSENT_WITHOUT_HELPER}`,
    counter: 'private_data_read_failures',
    present: fedBy('private_read'),
  }),
  kernelCounter({
    name: 'policy_violations_total',
    help:
      'What the rules of private exports forbid: KVM accepted a buffer of another VM, or accepted one after its lookup ' +
      'had failed (kvm_vfio_dmabuf_bind, vfio_dma_buf_get_data); a private export of a device without a VM ' +
      '(vfio_pci_core_feature_dma_buf); a private buffer offered to another importer than KVM ' +
      '(vfio_pci_dma_buf_attach). Absent where the kernel speaks no private dialect; the last two also where its exports do not ' +
      'say whether they are private.',
    counter: 'policy_violations',
    known: (model) => VIOLATIONS.filter((kind) => model.countsViolation(kind)).map((kind) => ({ kind })),
    present: fedBy('bind', 'private_read'),
  }),
  kernelCounter({
    name: 'missed_returns_total',
    help:
      'Calls of traced functions whose return was not seen because all instances of the return probe were in use, as ' +
      'told by the next call of the same task. Such a call is in no other counter and gave no event.',
    counter: 'missed_returns',
    known: () => [{}],
    present: fedBy(...RETURN_PROBES),
  }),
];
