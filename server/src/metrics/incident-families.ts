import type { TracerModel } from '../model/model.ts';
import { INCIDENT_KINDS } from '../model/schema.ts';
import type { MetricSample } from './exposition.ts';
import { type FamilySpec, sumByLabels } from './family.ts';

/** One series for each kind that the probes attached can tell of. */
function byKind(part: 'open' | 'opened' | 'folded'): (model: TracerModel) => MetricSample[] {
  return (model) =>
    INCIDENT_KINDS.filter((kind) => model.watchesIncident(kind)).map((kind) => ({
      labels: { kind },
      value: model.incidentCounts(kind)[part],
    }));
}

/** What the model makes of events and snapshots: it can miss what the counters of the kernel do not. */
export const INCIDENT_FAMILIES: readonly FamilySpec[] = [
  {
    name: 'incidents',
    help:
      'Incidents that are open now, /api/v1/incidents tells each: a revocation that waits, lost mappings, orphaned, born ' +
      'revoked or never imported buffers, breaches of the rules of private exports. A kind whose probes are not attached is absent.',
    type: 'gauge',
    samples: byKind('open'),
  },
  {
    name: 'device_incidents',
    help:
      'Incidents that are open now, by the device whose memory they are about, to be joined with vm_info by device. A device ' +
      'without any has no series: incidents tells by its zero which kinds are watched.',
    type: 'gauge',
    samples: (model, onFolded) =>
      sumByLabels(
        model.openIncidents().map((labels) => ({ labels, value: 1 })),
        model.options.seriesLimit,
        onFolded,
      ),
  },
  {
    name: 'incidents_total',
    help:
      'Incidents that were opened. They are found in events, which may be lost: for what has happened in the kernel count ' +
      'policy_violations_total, revocation_duration_seconds and the other families that the kernel counts.',
    type: 'counter',
    samples: byKind('opened'),
  },
  {
    name: 'incidents_folded_total',
    help: 'Incidents that were not opened because 500 of their kind were open.',
    type: 'counter',
    samples: byKind('folded'),
  },
];
