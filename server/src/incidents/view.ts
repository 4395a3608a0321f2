import type { VmRef } from '../contract/fields.ts';
import type { Closing, Incident } from '../contract/incidents.ts';
import { deviceAddress } from '../model/naming.ts';
import { vmOfTask, vmRef } from '../model/processes.ts';
import { vmOf } from '../model/vms.ts';
import type { Participants } from './participants.ts';
import type { Names } from './rule.ts';
import { INCIDENT_RULES } from './rules/index.ts';
import type { IncidentState } from './store.ts';

/** What the view of an incident needs from the rest of the model. */
export interface IncidentContext {
  time: (micros: number) => string;
  isExact: (incident: IncidentState) => boolean;
  participants: (incident: IncidentState) => Participants;
  tracesUnmaps: boolean;
}

const CLOSED: Readonly<Record<Closing, string>> = {
  revoke_ended: 'the call has ended',
  mapped_again: 'it was remapped',
  mapped_as_dmabuf: 'the process has mapped a dma-buf of the device',
  restored: 'the memory was restored',
  imported: 'an importer has attached it',
  released: 'the buffer was released',
  unbound: 'KVM has unbound it',
  fault_resolved: 'KVM resolved a fault again',
  vm_gone: 'the VM has ended',
  next_call: 'the next call began; the end of this one was missed',
  snapshot: 'a snapshot shows it; the event was missed',
};

const RANK = { critical: 0, warning: 1, info: 2 } as const;

/** Compares incidents for sorting: critical first. */
export function bySeverity(one: IncidentState, other: IncidentState): number {
  return RANK[severityOf(one)] - RANK[severityOf(other)];
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
  const { time, tracesUnmaps } = context;
  const { device, kind, severity } = incidentLabels(incident);
  const ownerVm = buffer === null ? null : vmOf(buffer);
  const vm = incident.vm === null ? ownerVm : vmOfIncident(incident);
  const { importers, holders } = context.participants(incident);
  return {
    id: incident.id,
    kind,
    severity,
    state: closedAt === null ? 'open' : 'closed',
    sentence: sentenceOf(incident, { device, vm, ownerVm, importers, holders, tracesUnmaps }),
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

/** A process that only called the kernel is a VM if its command line shows it. KVM accepts calls only from a VM. */
function vmOfIncident({ vm, vmBy }: IncidentState): VmRef | null {
  return vmBy === 'task' ? vmOfTask(vm) : vmRef(vm);
}

function severityOf(incident: IncidentState): Incident['severity'] {
  return INCIDENT_RULES[incident.kind].severity(incident);
}

/** One sentence about the problem, and a second one about its end if it is closed. */
function sentenceOf(incident: IncidentState, names: Names): string {
  const { kind, closedBy, waitedUs } = incident;
  const problem = `${INCIDENT_RULES[kind].problem(incident, names)}.`;
  if (closedBy === null) return problem;
  const took = waitedUs === null ? '' : ` after ${(waitedUs / 1e6).toFixed(3)} s`;
  return `${problem} Over${took}: ${CLOSED[closedBy]}.`;
}
