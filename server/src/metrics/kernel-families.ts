import { READERS, VIOLATIONS } from '../protocol/codes.ts';
import { type FamilySpec, fedBy, kernelCounter, kernelHistogram } from './family.ts';

/** Probes of the exporter, of the dma-buf core, and of calls of importers (probes/README.md). */
const IMPORT_PROBES = [
  ...['attach', 'pin', 'map', 'iommufd_map', 'bind', 'core_attach', 'core_pin', 'core_map', 'vmap'],
  ...['iommufd_file', 'rdma', 'rdma_map', 'prime', 'videobuf2', 'devmem'],
] as const;
const IMPORT_STAGES =
  'Stages: attach (dma_buf_dynamic_attach), pin (dma_buf_pin), map (dma_buf_map_attachment), vmap (dma_buf_vmap, dma_buf_mmap), ' +
  'iommufd (iommufd_ioas_map_file), bind (kvm_vfio_dmabuf_bind), rdma (ib_umem_dmabuf_get), prime ' +
  '(drm_gem_prime_fd_to_handle), videobuf2 (attach_dmabuf), devmem (net_devmem_bind_dmabuf).';
/** Probes that count a call at its return. */
const RETURN_PROBES = [...IMPORT_PROBES, 'export', 'revoke', 'private_read'] as const;
const OF_THE_BUFFER =
  'device is the exporting device, or unknown if it was closed before the call. privacy is that of the buffer.';
const NOT_OF_VFIO = 'device is also unknown if KVM binds a buffer that VFIO did not export.';
const ONLY_PRIVATE = 'Absent if the kernel has no vfio_dma_buf_get_data.';

const readers = READERS.map((importer) => ({ importer }));

/** Counters that probes keep in kernel maps. Lost events do not change them. */
export const KERNEL_FAMILIES: readonly FamilySpec[] = [
  kernelCounter({
    name: 'exports_total',
    help: 'Exports that returned a descriptor (vfio_pci_core_feature_dma_buf).',
    counter: 'exports',
    present: fedBy('export'),
  }),
  kernelCounter({
    name: 'export_rejections_total',
    help: 'Exports that the kernel rejected (vfio_pci_core_feature_dma_buf).',
    details: 'reason is deduced from the arguments of the call.',
    counter: 'export_rejections',
    present: fedBy('export'),
  }),
  kernelCounter({
    name: 'exported_bytes_total',
    help: 'Bytes of device memory that were exported (vfio_pci_core_feature_dma_buf).',
    counter: 'exported_bytes',
    present: fedBy('export'),
  }),
  kernelHistogram({
    name: 'export_duration_seconds',
    help: 'Duration of export calls, including rejected ones (vfio_pci_core_feature_dma_buf).',
    histogram: 'export_duration',
    known: [{}],
    present: fedBy('export'),
  }),
  kernelCounter({
    name: 'releases_total',
    help: 'Buffers whose last reference was dropped (dma_buf_file_release).',
    counter: 'releases',
    known: () => [{}],
    present: fedBy('release'),
  }),
  kernelCounter({
    name: 'imports_total',
    help: 'Import calls that succeeded (dma_buf_dynamic_attach, dma_buf_map_attachment and others).',
    details: `${IMPORT_STAGES} ${OF_THE_BUFFER} ${NOT_OF_VFIO}`,
    counter: 'imports',
    present: fedBy(...IMPORT_PROBES),
  }),
  kernelCounter({
    name: 'import_rejections_total',
    help: 'Import calls that the kernel rejected (dma_buf_dynamic_attach, dma_buf_map_attachment and others).',
    details: `Each is counted once, at the layer that rejected it. ${IMPORT_STAGES} ${OF_THE_BUFFER} ${NOT_OF_VFIO}`,
    counter: 'import_rejections',
    present: fedBy(...IMPORT_PROBES),
  }),
  kernelHistogram({
    name: 'import_duration_seconds',
    help: 'Duration of import calls, including rejected ones (dma_buf_dynamic_attach and others).',
    details: IMPORT_STAGES,
    histogram: 'import_duration',
    present: fedBy(...IMPORT_PROBES),
  }),
  kernelCounter({
    name: 'detaches_total',
    help: 'Attachments that importers ended (dma_buf_detach).',
    details: OF_THE_BUFFER,
    counter: 'detaches',
    present: fedBy('detach'),
  }),
  kernelCounter({
    name: 'unmaps_total',
    help: 'Mappings that importers ended (vfio_pci_dma_buf_unmap).',
    details: OF_THE_BUFFER,
    counter: 'unmaps',
    present: fedBy('unmap'),
  }),
  kernelCounter({
    name: 'revocations_total',
    help: 'Buffers whose memory was revoked from all importers (vfio_pci_dma_buf_move).',
    details: 'cause is the function that called for it.',
    counter: 'revocations',
    present: fedBy('revoke'),
  }),
  kernelCounter({
    name: 'restorations_total',
    help: 'Revoked buffers whose memory was made available again (vfio_pci_dma_buf_move).',
    details: 'cause is the function that called for it.',
    counter: 'restorations',
    present: fedBy('revoke'),
  }),
  kernelHistogram({
    name: 'revocation_duration_seconds',
    help: 'Duration of kernel calls that revoked at least one buffer (vfio_pci_dma_buf_move).',
    details:
      'If the kernel waits for importers to unmap (mainline: since 7.1), the duration includes the wait.',
    histogram: 'revocation_duration',
    known: [{}],
    present: fedBy('revoke'),
  }),
  kernelCounter({
    name: 'private_data_reads_total',
    help: 'Lookups of the VFIO data of a buffer that succeeded (vfio_dma_buf_get_data).',
    details: ONLY_PRIVATE,
    counter: 'private_data_reads',
    known: () => readers,
    present: fedBy('private_read'),
  }),
  kernelCounter({
    name: 'private_data_read_rejections_total',
    help: 'Lookups of the VFIO data of a buffer that the kernel rejected (vfio_dma_buf_get_data).',
    details: ONLY_PRIVATE,
    counter: 'private_data_read_rejections',
    present: fedBy('private_read'),
  }),
  kernelCounter({
    name: 'policy_violations_total',
    help: 'Calls that broke a rule for private exports (kvm_vfio_dmabuf_bind, vfio_pci_dma_buf_attach and others).',
    details:
      'foreign_vm: KVM accepted a buffer of the device of another VM. accepted_not_vfio: KVM accepted a buffer that VFIO did not ' +
      'export (kvm_vfio_dmabuf_bind). private_without_vm: a device without a VM made a private export ' +
      '(vfio_pci_core_feature_dma_buf). private_offered: an importer other than KVM tried to attach a private buffer ' +
      '(vfio_pci_dma_buf_attach). Absent if the kernel has no private exports.',
    counter: 'policy_violations',
    known: (model) =>
      VIOLATIONS.filter((kind) => model.incidents.countsViolation(kind)).map((kind) => ({ kind })),
    present: fedBy('bind', 'private_read'),
  }),
  kernelCounter({
    name: 'missed_returns_total',
    help: 'Calls of traced functions whose return was not traced.',
    details:
      'All instances of the return probe were in use. The next call of the same task reveals it. Such a call is in no other ' +
      'counter and made no event.',
    counter: 'missed_returns',
    known: () => [{}],
    present: fedBy(...RETURN_PROBES),
  }),
];
