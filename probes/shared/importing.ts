import {
  addedField,
  type Declaration,
  type FamilyDeclaration,
  field,
} from '../../server/src/protocol/declaration.ts';
import { readRoute, readStage } from '../../server/src/protocol/readers.ts';
import { comm, device, errno, importer, importer_device, inode, ns, pid, reason, t } from './fields.ts';

/** Details of families that have the device and the privacy of a buffer. */
export const OF_THE_BUFFER =
  'device is the exporting device, or unknown if it was closed before the call. privacy is that of the buffer.';
const NOT_OF_VFIO =
  'device is also unknown if KVM rejects a slot or a fault without a VFIO buffer, or binds a buffer that VFIO did not export.';
const STAGES =
  'Stages: attach (dma_buf_dynamic_attach), pin (dma_buf_pin), map (dma_buf_map_attachment), ' +
  'vmap (dma_buf_vmap, dma_buf_mmap), iommufd (iommufd_ioas_map_file, iommufd_ioas_copy), ' +
  'bind (kvm_vfio_dmabuf_bind, kvm_set_memory_region), get_pfn (kvm_vfio_dmabuf_get_pfn: a fault of a guest), ' +
  'rdma (ib_umem_dmabuf_get), prime (drm_gem_prime_fd_to_handle), videobuf2 (attach_dmabuf), ' +
  'devmem (net_devmem_bind_dmabuf).';
const BY_ADDRESS =
  'Also ioas_map (iopt_map_user_pages): maps by address that failed with EFAULT. It has no successes and no ' +
  'durations; device is that of the BAR, or unknown if the address is not in a BAR.';

const importDuration = {
  name: 'import_duration',
  type: 'histogram',
  help: 'Duration of import calls, including rejected ones (dma_buf_dynamic_attach and others).',
  details: STAGES,
  labels: ['importer', 'stage'],
} as const satisfies FamilyDeclaration;

/** The event of one stage of an import. A bind has its own event, which also names the VM and the slot. */
export const importEvent = {
  records: [
    {
      name: 'import',
      tag: 4,
      event: true,
      fields: {
        t,
        ns,
        pid,
        stage: field(readStage, 'Stage of the import.'),
        device,
        inode,
        errno,
        reason,
        importer,
        importer_device,
        comm,
        route: addedField(readRoute, 'Route of a successful mapping. 0 is unknown, and for other stages.', 0),
      },
    },
  ],
} as const satisfies Declaration;

/** The counts of all stages of an import. */
export const importCounts = {
  maps: [
    {
      name: 'imports',
      number: 10,
      key: ['stage', 'device', 'privacy', 'name0', 'name1'],
      holds: 'count',
      of: 'import calls that succeeded',
      feeds: {
        name: 'imports',
        type: 'counter',
        help: 'Import calls that succeeded (dma_buf_dynamic_attach, dma_buf_map_attachment and others).',
        details: `${STAGES} ${OF_THE_BUFFER} ${NOT_OF_VFIO}`,
        labels: ['device', 'privacy', 'importer', 'stage'],
      },
    },
    {
      name: 'import_rejections',
      number: 11,
      key: ['stage', 'device', 'privacy', 'name0', 'name1', 'errno', 'reason'],
      holds: 'count',
      of: 'import calls that were rejected',
      feeds: {
        name: 'import_rejections',
        type: 'counter',
        help: 'Import calls that the kernel rejected (dma_buf_dynamic_attach, dma_buf_map_attachment and others).',
        details: `Each is counted once, at the layer that rejected it. ${STAGES} ${BY_ADDRESS} ${OF_THE_BUFFER} ${NOT_OF_VFIO}`,
        labels: ['device', 'privacy', 'importer', 'stage', 'reason', 'errno'],
      },
    },
    {
      name: 'import_ns',
      number: 12,
      key: ['stage', 'name0', 'name1'],
      holds: 'sum',
      of: 'the duration of all import stages',
      feeds: importDuration,
    },
    {
      name: 'import_bucket',
      number: 13,
      key: ['stage', 'name0', 'name1', 'bucket'],
      holds: 'count',
      of: 'import stages by duration',
      feeds: importDuration,
    },
  ],
} as const satisfies Declaration;
