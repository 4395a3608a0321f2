import type { IncidentKind } from '../contract/incidents.ts';
import type { IncidentState } from './store.ts';

/** Kinds that a snapshot confirms or closes. Only events report the others. */
const CONFIRMED_BY_SNAPSHOT: readonly IncidentKind[] = [
  'orphaned',
  'born_revoked',
  'private_without_vm',
  'private_offered',
  'confidential_shared',
];

/** Whether an incident is exact: nothing was lost since it began, or a later complete snapshot has confirmed it. */
export function isExact(incident: IncidentState, lastLossAt: number, snapshotAt: number | null): boolean {
  if (lastLossAt <= incident.since) return true;
  return snapshotAt !== null && snapshotAt >= lastLossAt && CONFIRMED_BY_SNAPSHOT.includes(incident.kind);
}
