import type { Dialect } from '../../stream/wire.ts';
import type { Incident, IncidentKind } from '../schema.ts';
import type { IncidentState } from './book.ts';

interface Kind {
  severity: Incident['severity'];
  /** Without all of these it cannot be told. */
  probes: readonly string[];
  /** The only dialects in which it can happen; all where it is left out. */
  dialects?: readonly Dialect[];
}

export const KINDS: Readonly<Record<IncidentKind, Kind>> = {
  revoke_waiting: { severity: 'warning', probes: ['revoke'] },
  mappings_lost: { severity: 'warning', probes: ['revoke', 'iommufd_map'] },
  orphaned: { severity: 'warning', probes: ['export', 'release'] },
  born_revoked: { severity: 'warning', probes: ['export', 'revoke'] },
  never_imported: { severity: 'info', probes: ['export', 'release', 'attach'] },
  private_without_vm: { severity: 'warning', probes: ['export'], dialects: ['private-v1'] },
  private_offered: { severity: 'warning', probes: ['attach'], dialects: ['private-v1', 'private-v2'] },
  foreign_vm: { severity: 'critical', probes: ['bind', 'private_read'] },
  accepted_after_failed_lookup: { severity: 'critical', probes: ['bind', 'private_read'] },
  confidential_shared: { severity: 'critical', probes: ['export', 'attach'], dialects: ['mainline'] },
};

/** An offer of private memory that was accepted is worse than one that the kernel has refused. */
export function severityOf({ kind, offers }: IncidentState): Incident['severity'] {
  return kind === 'private_offered' && offers !== null && offers.accepted > 0
    ? 'critical'
    : KINDS[kind].severity;
}
