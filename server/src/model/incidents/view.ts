import { deviceAddress } from '../naming.ts';
import { vmRef } from '../processes.ts';
import type { Incident } from '../schema.ts';
import { vmOf } from '../vms.ts';
import type { IncidentState } from './book.ts';
import { severityOf } from './kinds.ts';
import { sentenceOf } from './sentences.ts';

/** What is asked of the rest of the model to tell an incident. */
export interface IncidentContext {
  time: (micros: number) => string;
  isExact: (incident: IncidentState) => boolean;
  /** Who still holds mappings of what this device's running revocation takes away. */
  waitedFor: (device: number) => Incident['importers'];
  watchesUnmaps: boolean;
}

/** What the metrics tell of it. */
export function incidentLabels(incident: IncidentState): Pick<Incident, 'device' | 'kind' | 'severity'> {
  return {
    device: deviceAddress(incident.device || (incident.buffer?.device ?? 0)),
    kind: incident.kind,
    severity: severityOf(incident),
  };
}

/** The incident as the world sees it. */
export function incidentView(incident: IncidentState, context: IncidentContext): Incident {
  const { buffer, closedAt } = incident;
  const { time } = context;
  const { device, kind, severity } = incidentLabels(incident);
  const ownerVm = buffer === null ? null : vmOf(buffer);
  const vm = incident.vm === null ? ownerVm : vmRef(incident.vm);
  const importers = importersOf(incident, context);
  const holders = incident.holders.map((holder) => ({ ...holder }));
  const named = {
    device,
    vm,
    ownerVm,
    importers,
    holders,
    watchesUnmaps: context.watchesUnmaps,
  };
  return {
    id: incident.id,
    kind,
    severity,
    state: closedAt === null ? 'open' : 'closed',
    sentence: sentenceOf(incident, named),
    device,
    inode: incident.inode,
    vm,
    importers,
    holders,
    count: incident.count,
    since: time(incident.since),
    opened_at: time(incident.openedAt),
    closed_at: closedAt === null ? null : time(closedAt),
    closed_by: incident.closedBy,
    waited_seconds: incident.waitedUs === null ? null : incident.waitedUs / 1e6,
    exact: closedAt === null ? context.isExact(incident) : incident.exact,
  };
}

function importersOf(incident: IncidentState, context: IncidentContext): Incident['importers'] {
  const { kind, closedAt } = incident;
  if (kind === 'revoke_waiting' && closedAt === null) return context.waitedFor(incident.device);
  return incident.importers.map((importer) => ({ ...importer }));
}
