import type { IncidentKind } from '../contract/incidents.ts';
import { PRIVATE_BUFFER_REMEDY } from './entry.ts';

/** Meaning of a kind of incident for an operator: when it opens and closes, and the fix. */
export interface IncidentEntry {
  opens: string;
  closes: string;
  remedy: string;
  /** Page in docs/runbooks, without `.md`. */
  runbook: string;
}

const BIND_ENDED = 'KVM unbinds the buffer, that VM ends, or the buffer is released';
const KERNEL_DEFECT = 'A defect of the kernel: stop that VM.';

/** Source of docs/incidents.md, the API and the page. The compiler reports a kind without an entry. */
export const INCIDENT_ENTRIES: Readonly<Record<IncidentKind, IncidentEntry>> = {
  revoke_waiting: {
    runbook: 'VfioDmabufRevokeWaiting',
    opens:
      'a revocation has not ended after 1 s; if it took that long and ended before the next heartbeat, the incident opens at its end',
    closes: 'the call ends; the incident has the duration',
    remedy:
      'Stop the workload or the driver of the importers that it names: they still have mappings, and a reset of the device waits for them.',
  },
  mappings_lost: {
    runbook: 'VfioDmabufLostMappings',
    opens: 'a revocation removed a mapping of iommufd (`iopt_revoke_notify`)',
    closes: 'the buffer is remapped or released',
    remedy: 'The VMM has to remap the dma-buf; until then, device-to-device DMA to it faults.',
  },
  orphaned: {
    runbook: 'VfioDmabufOrphanedBuffers',
    opens: 'the exporting process has ended, and the buffer still exists 10 s later',
    closes: 'the buffer is released',
    remedy:
      'End the holders that it names; if no process holds the buffer, an importer is still attached to it.',
  },
  born_revoked: {
    runbook: 'VfioDmabufBornRevoked',
    opens: 'an export while the memory decode of the device is off: every import fails with ENODEV',
    closes: 'the memory is restored, or the buffer is released',
    remedy: 'The VMM has to enable memory decode before it exports.',
  },
  never_imported: {
    runbook: 'VfioDmabufNeverImported',
    opens: 'no importer has attached an exported buffer for 5 minutes',
    closes: 'an importer attaches the buffer, or it is released',
    remedy:
      'Harmless if the VMM exports in advance; otherwise see `/api/v1/rejections` for rejected importers.',
  },
  private_without_vm: {
    runbook: 'VfioDmabufPrivateWithoutVm',
    opens: 'a private export of a device that belongs to no VM',
    closes: 'the buffer is released',
    remedy: 'Attach the VFIO device to its VM (KVM_DEV_VFIO_FILE_ADD) before the export.',
  },
  private_offered: {
    runbook: 'VfioDmabufPrivateMemoryOffered',
    opens:
      'an importer other than KVM tried to attach a private buffer; rejected and accepted attempts count; critical if one was accepted',
    closes: 'the buffer is released',
    remedy: PRIVATE_BUFFER_REMEDY,
  },
  foreign_vm: {
    runbook: 'VfioDmabufPolicyViolation',
    opens: 'KVM accepted a bind of a buffer to a VM that does not own its device',
    closes: BIND_ENDED,
    remedy: KERNEL_DEFECT,
  },
  accepted_not_vfio: {
    runbook: 'VfioDmabufPolicyViolation',
    opens: 'KVM accepted a bind of a buffer that VFIO did not export',
    closes: BIND_ENDED,
    remedy: KERNEL_DEFECT,
  },
  confidential_shared: {
    runbook: 'VfioDmabufConfidentialShared',
    opens:
      'mainline: an importer other than KVM attached a buffer of a device of a VM of kind sev, sev_es, snp or tdx',
    closes: 'the buffer is released',
    remedy: 'Mainline has no private exports: only the VMM knows whether this was intended.',
  },
};
