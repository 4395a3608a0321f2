import type { IncidentKind } from '../model/schema.ts';
import { PRIVATE_BUFFER_REMEDY } from './entry.ts';

/** What a kind of incident means to an operator. */
export interface IncidentEntry {
  opens: string;
  closes: string;
  remedy: string;
  /** Page in docs/runbooks, without `.md`. */
  runbook: string;
}

const SAME = 'KVM unbinds it, that VM ends, or the buffer is released';
const KERNEL_DEFECT = 'a defect of the kernel: stop that VM';

/** One source for docs/incidents.md, the API and the page. A kind without an entry does not compile. */
export const INCIDENT_ENTRIES: Readonly<Record<IncidentKind, IncidentEntry>> = {
  revoke_waiting: {
    runbook: 'VfioDmabufRevokeWaiting',
    opens:
      'a revocation has not ended after 1 s; also at its end, where it took so long between two heartbeats',
    closes: 'with the end of the call; it has the duration',
    remedy:
      'the importers it names still hold mappings: stop the workload there, or the driver; a reset of the device waits as well',
  },
  mappings_lost: {
    runbook: 'VfioDmabufLostMappings',
    opens: "a revocation made iommufd's mapping dead (`iopt_revoke_notify`)",
    closes: 'mapped again, or the buffer is released',
    remedy: 'the VMM has to map the dma-buf again; device-to-device DMA to it faults until then',
  },
  orphaned: {
    runbook: 'VfioDmabufOrphanedBuffers',
    opens: 'the exporting process has ended and the buffer lives 10 s later',
    closes: 'at release',
    remedy: "end the holders it names; what only the kernel holds is an importer's attachment",
  },
  born_revoked: {
    runbook: 'VfioDmabufBornRevoked',
    opens: "an export while the device's memory decode is off: every import fails with ENODEV",
    closes: 'the memory is restored, or the buffer is released',
    remedy: 'the VMM has to enable memory before it exports',
  },
  never_imported: {
    runbook: 'VfioDmabufNeverImported',
    opens: 'nobody has attached an export for 5 minutes',
    closes: 'first attach, or release',
    remedy:
      'harmless where the VMM exports in advance; otherwise see `/api/v1/rejections` for rejected importers',
  },
  private_without_vm: {
    runbook: 'VfioDmabufPrivateWithoutVm',
    opens: 'a private export of a device that belongs to no VM',
    closes: 'at release',
    remedy: 'attach the VFIO device to its VM (KVM_DEV_VFIO_FILE_ADD) before the export',
  },
  private_offered: {
    runbook: 'VfioDmabufPrivateMemoryOffered',
    opens:
      'another importer than KVM tried to attach a private buffer; both rejected and accepted attempts count; critical where one was accepted',
    closes: 'at release',
    remedy: PRIVATE_BUFFER_REMEDY,
  },
  foreign_vm: {
    runbook: 'VfioDmabufPolicyViolation',
    opens: "KVM accepted a bind of a buffer to another VM than its device's",
    closes: SAME,
    remedy: KERNEL_DEFECT,
  },
  accepted_not_vfio: {
    runbook: 'VfioDmabufPolicyViolation',
    opens: 'KVM accepted a bind of a buffer that VFIO did not export',
    closes: SAME,
    remedy: KERNEL_DEFECT,
  },
  confidential_shared: {
    runbook: 'VfioDmabufConfidentialShared',
    opens:
      'mainline: an importer other than KVM attached a buffer of a device of a VM of kind sev, sev_es, snp or tdx',
    closes: 'at release',
    remedy: 'mainline has no word for private exports: whether this was meant only the VMM knows',
  },
};
