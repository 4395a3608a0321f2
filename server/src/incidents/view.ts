import type { Incident } from '../contract/incidents.ts';
import type { BufferState } from '../model/buffer-state.ts';
import { deviceAddress } from '../model/naming.ts';
import { vmRef } from '../model/processes.ts';
import { vmOf } from '../model/vms.ts';
import { severityOf } from './kinds.ts';
import { sentenceOf } from './sentences.ts';
import { attachedTo, holdersOf, type IncidentFacts, type IncidentState } from './store.ts';

/** What the view of an incident needs from the rest of the model. */
export interface IncidentContext {
  time: (micros: number) => string;
  isExact: (incident: IncidentState) => boolean;
  /** Importers that the running revocation of this device still waits for. */
  waitedFor: (device: number) => IncidentFacts['importers'];
  tracesUnmaps: boolean;
}

/** The labels of an incident in the metrics. */
export function incidentLabels(incident: IncidentState): Pick<Incident, 'device' | 'kind' | 'severity'> {
  return {
    device: deviceAddress(incident.device || (incident.buffer?.device ?? 0)),
    kind: incident.kind,
    severity: severityOf(incident),
  };
}

/** The incident as the API shows it. */
export function incidentView(incident: IncidentState, context: IncidentContext): Incident {
  const { buffer, closedAt } = incident;
  const { time } = context;
  const { device, kind, severity } = incidentLabels(incident);
  const ownerVm = buffer === null ? null : vmOf(buffer);
  const vm = incident.vm === null ? ownerVm : vmRef(incident.vm);
  const importers = importersOf(incident, context);
  const holders = isLiveOrphan(incident) ? holdersOf(incident.buffer) : incident.holders;
  const named = {
    device,
    vm,
    ownerVm,
    importers,
    holders,
    tracesUnmaps: context.tracesUnmaps,
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
    importers: importers.shown.map((importer) => ({ ...importer })),
    holders: holders.shown.map((holder) => ({ ...holder })),
    count: incident.count,
    since: time(incident.since),
    opened_at: time(incident.openedAt),
    closed_at: closedAt === null ? null : time(closedAt),
    closed_by: incident.closedBy,
    waited_seconds: incident.waitedUs === null ? null : incident.waitedUs / 1e6,
    exact: closedAt === null ? context.isExact(incident) : incident.exact,
  };
}

function importersOf(incident: IncidentState, context: IncidentContext): IncidentFacts['importers'] {
  const { kind, closedAt } = incident;
  if (kind === 'revoke_waiting' && closedAt === null) return context.waitedFor(incident.device);
  return isLiveOrphan(incident) ? attachedTo(incident.buffer) : incident.importers;
}

/** True for an orphan that was not released: its buffer has the current holders and importers. */
function isLiveOrphan(incident: IncidentState): incident is IncidentState & { buffer: BufferState } {
  return incident.kind === 'orphaned' && incident.buffer !== null && !incident.buffer.released;
}
