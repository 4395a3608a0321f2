import type { Dialect } from '../../stream/wire.ts';
import { type BlindTo, INCIDENT_KINDS, type Incident, type IncidentKind } from '../schema.ts';
import type { IncidentState } from './book.ts';

interface Kind {
  severity: Incident['severity'];
  /** Without all of these it cannot be told. */
  probes: readonly string[];
  /** The only dialects in which it can happen; all where it is left out. */
  dialects?: readonly Dialect[];
  /** Critical at its worst, or about private memory: nobody is safe from it where it cannot be told. */
  grave?: true;
}

const PRIVATE: readonly Dialect[] = ['private-v1', 'private-v2'];

export const KINDS: Readonly<Record<IncidentKind, Kind>> = {
  revoke_waiting: { severity: 'warning', probes: ['revoke'] },
  mappings_lost: { severity: 'warning', probes: ['revoke', 'iommufd_map'] },
  orphaned: { severity: 'warning', probes: ['export', 'release'] },
  born_revoked: { severity: 'warning', probes: ['export', 'revoke'] },
  never_imported: { severity: 'info', probes: ['export', 'release', 'attach'] },
  private_without_vm: { severity: 'warning', probes: ['export'], dialects: ['private-v1'], grave: true },
  private_offered: { severity: 'warning', probes: ['attach'], dialects: PRIVATE, grave: true },
  foreign_vm: { severity: 'critical', probes: ['bind'], dialects: PRIVATE, grave: true },
  accepted_not_vfio: {
    severity: 'critical',
    probes: ['bind'],
    dialects: PRIVATE,
    grave: true,
  },
  confidential_shared: {
    severity: 'critical',
    probes: ['export', 'attach'],
    dialects: ['mainline'],
    grave: true,
  },
};

/** Of the grave kinds that a kernel of this dialect can have, those that cannot be told, and the probes they lack. */
export function blindTo(dialect: Dialect, attached: ReadonlySet<string>): BlindTo[] {
  return INCIDENT_KINDS.flatMap((kind) => {
    const { probes, dialects, grave } = KINDS[kind];
    const missing = probes.filter((probe) => !attached.has(probe));
    const possible = dialects?.includes(dialect) ?? true;
    return grave === true && possible && missing.length > 0 ? [{ kind, probes: missing }] : [];
  });
}

/** An offer of private memory that was accepted is worse than one that the kernel has rejected. */
export function severityOf({ kind, offers }: IncidentState): Incident['severity'] {
  return kind === 'private_offered' && offers !== null && offers.accepted > 0
    ? 'critical'
    : KINDS[kind].severity;
}

const RANK = { critical: 0, warning: 1, info: 2 } as const;

/** The gravest first. */
export function byGravity(one: IncidentState, other: IncidentState): number {
  return RANK[severityOf(one)] - RANK[severityOf(other)];
}
