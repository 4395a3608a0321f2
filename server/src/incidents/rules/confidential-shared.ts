import type { BufferState } from '../../model/buffer-state.ts';
import { vmKind } from '../../model/naming.ts';
import { detectForeignAttaches, openForAttach } from '../foreign-attaches.ts';
import { bufferName, importersText, repetition } from '../names.ts';
import { named } from '../participants.ts';
import { type IncidentRule, openingFor } from '../rule.ts';

/** Kinds of VM whose memory is hidden from the host. */
const CONFIDENTIAL: readonly string[] = ['sev', 'sev_es', 'snp', 'tdx'];

/** On a kernel without private exports, only the kind of the VM shows that the buffer is private. */
export const confidentialShared: IncidentRule<null> = {
  probes: ['export', 'attach'],
  dialects: ['mainline'],
  securityRelevant: true,
  confirmedBySnapshot: true,
  runbook: 'VfioDmabufConfidentialShared',
  opens:
    'mainline: an importer other than KVM attached a buffer of a device of a VM of kind sev, sev_es, snp or tdx',
  closes: 'the buffer is released',
  remedy: 'Mainline has no private exports: only the VMM knows whether this was intended.',

  severity: () => 'critical',
  problem: (incident, names) =>
    `${importersText(names.importers)} has attached ${bufferName(incident, names)} of a confidential VM ` +
    `(${names.vm?.kind ?? 'unknown'})${repetition(incident.count)}; ` +
    'this kernel does not support private exports',

  detector: (context) => {
    const isConfidential = ({ vmType }: BufferState) =>
      context.dialect() === 'mainline' && CONFIDENTIAL.includes(vmKind(vmType));
    return {
      ...detectForeignAttaches(
        (buffer, { errno }) => errno === 0 && isConfidential(buffer),
        (buffer, attach) => openForAttach(context, buffer, attach, null),
      ),
      found(buffer, _seen, t) {
        const { inode, attachments, importers } = buffer;
        if (!isConfidential(buffer) || attachments.count <= importers.named) return;
        const unknown = named([{ importer: 'unknown', importer_device: '', inode }]);
        const opening = openingFor(buffer, buffer.firstSeenAt, t);
        context.open({ ...opening, subject: `${inode}\nunknown\n`, importers: unknown });
      },
    };
  },
};
