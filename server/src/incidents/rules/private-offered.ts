import type { BufferState } from '../../model/buffer-state.ts';
import type { Reason } from '../../protocol/codes.ts';
import { detectForeignAttaches, openForAttach } from '../foreign-attaches.ts';
import { bufferName, importersText, timesText } from '../names.ts';
import { type IncidentRule, PRIVATE_DIALECTS } from '../rule.ts';

/** The remedy if an importer other than KVM was offered a private buffer. Another importer is never a remedy. */
export const PRIVATE_BUFFER_REMEDY =
  'Do not look for another importer: only KVM may import this buffer, and only for the VM that owns the device. Find ' +
  'the process that passed the descriptor on (`comm` and `pid` of the event) and stop it. An importer that was ' +
  'accepted can read and write the memory of the VM’s device.';

interface Offers {
  /** Whether the export has declared the buffer private. Otherwise KVM has bound it. */
  readonly declared: boolean;
  accepted: number;
  rejected: number;
  /** Why the last one was rejected. */
  reason: Reason;
}

export const privateOffered: IncidentRule<Offers> = {
  probes: ['attach'],
  dialects: PRIVATE_DIALECTS,
  securityRelevant: true,
  confirmedBySnapshot: true,
  runbook: 'VfioDmabufPrivateMemoryOffered',
  opens:
    'an importer other than KVM tried to attach a private buffer; rejected and accepted attempts count; ' +
    'critical if one was accepted',
  closes: 'the buffer is released',
  remedy: PRIVATE_BUFFER_REMEDY,

  severity: ({ details }) => (details.accepted > 0 ? 'critical' : 'warning'),
  problem(incident, names) {
    const { details } = incident;
    const why = details.declared
      ? 'which is private'
      : 'which is bound by KVM (this kernel does not report whether it is private)';
    const importers = importersText(names.importers);
    return `${importers} tried to attach ${bufferName(incident, names)}, ${why}: ${offersText(details)}`;
  },

  detector: (context) =>
    detectForeignAttaches(
      (buffer, { t }) => {
        // private-v2 does not report the privacy: a buffer counts as private from its first bind by KVM.
        const isBound = buffer.boundAt !== null && t >= buffer.boundAt;
        return isDeclared(buffer) || (context.dialect() === 'private-v2' && isBound);
      },
      (buffer, attach) => {
        const none: Offers = { declared: isDeclared(buffer), accepted: 0, rejected: 0, reason: 'none' };
        const offers = openForAttach(context, buffer, attach, none)?.details;
        if (offers === undefined) return;
        if (attach.errno === 0) offers.accepted += 1;
        else {
          offers.rejected += 1;
          offers.reason = attach.reason;
        }
      },
    ),
};

function isDeclared({ privacy }: BufferState): boolean {
  return privacy === 'private';
}

function offersText({ accepted, rejected, reason }: Offers): string {
  const parts = [
    ...(accepted > 0 ? [`accepted ${timesText(accepted)}`] : []),
    ...(rejected > 0 ? [`rejected ${timesText(rejected)} (${reason})`] : []),
  ];
  return parts.join(', ');
}
