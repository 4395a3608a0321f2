import { INCIDENT_KINDS } from '../contract/incidents.ts';
import type { TracerModel } from '../tracer/tracer.ts';
import type { MetricSample } from './exposition.ts';
import { type FamilySpec, sumByLabels } from './family.ts';

/** One series for each kind whose probes are attached. */
function byKind(part: 'open' | 'opened' | 'folded'): (model: TracerModel) => MetricSample[] {
  return (model) =>
    INCIDENT_KINDS.filter((kind) => model.incidents.isDetected(kind)).map((kind) => ({
      labels: { kind },
      value: model.incidents.counts(kind)[part],
    }));
}

/** Incidents are deduced from events and snapshots. Unlike counters from kernel maps, they can miss something. */
export const INCIDENT_FAMILIES: readonly FamilySpec[] = [
  {
    name: 'incidents',
    help: 'Incidents that are open.',
    details: '/api/v1/incidents lists them. A kind whose probes are not attached is absent.',
    type: 'gauge',
    samples: byKind('open'),
  },
  {
    name: 'device_incidents',
    help: 'Incidents that are open, by the device whose memory they concern.',
    details: 'Join it with vm_info by device. A device without incidents has no series.',
    type: 'gauge',
    samples: (model, onFolded) =>
      sumByLabels(
        model.incidents.openLabels().map((labels) => ({ labels, value: 1 })),
        model.options.seriesLimit,
        onFolded,
      ),
  },
  {
    name: 'incidents_total',
    help: 'Incidents that were opened.',
    details:
      'They come from events, which can be lost. policy_violations_total and revocation_duration_seconds come from kernel maps and do not depend on events.',
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
