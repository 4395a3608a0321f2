import type { IncidentKind } from '../schema.ts';
import type { IncidentState } from './book.ts';

/** Kinds that a snapshot of the buffers confirms or ends; of the others only events tell. */
const CONFIRMED_BY_SNAPSHOT: readonly IncidentKind[] = [
  'orphaned',
  'born_revoked',
  'private_without_vm',
  'private_offered',
  'confidential_shared',
];

/** False where something was lost since it began, and no whole snapshot has confirmed it after that. */
export function isExact(incident: IncidentState, lastLossAt: number, snapshotAt: number | null): boolean {
  if (lastLossAt <= incident.since) return true;
  return snapshotAt !== null && snapshotAt >= lastLossAt && CONFIRMED_BY_SNAPSHOT.includes(incident.kind);
}
