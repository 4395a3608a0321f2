import { type BlindTo, INCIDENT_KINDS, type Incident, type IncidentKind } from '../contract/schema.ts';
import type { ProbeName } from '../protocol/declared.ts';
import type { Dialect } from '../protocol/wire.ts';
import type { IncidentState } from './store.ts';

interface Kind {
  severity: Incident['severity'];
  /** All of these probes are needed to detect it. */
  probes: readonly ProbeName[];
  /** The dialects in which it can occur; absent means all. */
  dialects?: readonly Dialect[];
  /** It can be critical, or is about private memory. If it cannot be detected, the API lists it in `blind_to`. */
  securityRelevant?: true;
}

const PRIVATE: readonly Dialect[] = ['private-v1', 'private-v2'];

export const KINDS: Readonly<Record<IncidentKind, Kind>> = {
  revoke_waiting: { severity: 'warning', probes: ['revoke'] },
  mappings_lost: { severity: 'warning', probes: ['revoke', 'iommufd_map'] },
  orphaned: { severity: 'warning', probes: ['export', 'release'] },
  born_revoked: { severity: 'warning', probes: ['export', 'revoke'] },
  never_imported: { severity: 'info', probes: ['export', 'release', 'attach'] },
  private_without_vm: {
    severity: 'warning',
    probes: ['export'],
    dialects: ['private-v1'],
    securityRelevant: true,
  },
  private_offered: { severity: 'warning', probes: ['attach'], dialects: PRIVATE, securityRelevant: true },
  foreign_vm: { severity: 'critical', probes: ['bind'], dialects: PRIVATE, securityRelevant: true },
  accepted_not_vfio: {
    severity: 'critical',
    probes: ['bind'],
    dialects: PRIVATE,
    securityRelevant: true,
  },
  confidential_shared: {
    severity: 'critical',
    probes: ['export', 'attach'],
    dialects: ['mainline'],
    securityRelevant: true,
  },
};

/** The security-relevant kinds that can occur in this dialect but cannot be detected, with their missing probes. */
export function blindTo(dialect: Dialect, attached: ReadonlySet<string>): BlindTo[] {
  return INCIDENT_KINDS.flatMap((kind) => {
    const { probes, dialects, securityRelevant } = KINDS[kind];
    const missing = probes.filter((probe) => !attached.has(probe));
    const possible = dialects?.includes(dialect) ?? true;
    return securityRelevant === true && possible && missing.length > 0 ? [{ kind, probes: missing }] : [];
  });
}

/** The severity of an incident. An accepted offer of private memory is worse than a rejected one. */
export function severityOf({ kind, offers }: IncidentState): Incident['severity'] {
  return kind === 'private_offered' && offers !== null && offers.accepted > 0
    ? 'critical'
    : KINDS[kind].severity;
}

const RANK = { critical: 0, warning: 1, info: 2 } as const;

/** Compares incidents for sorting: critical first. */
export function bySeverity(one: IncidentState, other: IncidentState): number {
  return RANK[severityOf(one)] - RANK[severityOf(other)];
}
