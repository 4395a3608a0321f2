import type { Section } from './dashboard.ts';
import { runbook, toDashboard, toLivePage } from './links.ts';
import { seriesPanel } from './panels.ts';
import { DEVICE, REJECTIONS } from './private-queries.ts';
import { FLEET, grownEachBy, medianAndP99 } from './queries.ts';

const NO_FAULTS = 'no faults on bound buffers, or no traced kernel has private exports';
const NO_ZAPS = 'no revocations of bound buffers, or no traced kernel has private exports';

/** Faults of guests on buffers that KVM has bound. A rejected one stops a vCPU. */
export function faultSection(): Section {
  return {
    title: 'Faults of guests',
    panels: [
      seriesPanel({
        title: 'Faults on bound buffers',
        description:
          'Pages of bound buffers that guests touched and KVM had not mapped, in each interval. A rejected fault stops a vCPU.',
        width: 6,
        height: 8,
        queries: [
          {
            expr: grownEachBy('stage', 'vfio_dmabuf_imports_total', `${DEVICE},stage="get_pfn"`),
            legend: 'resolved',
          },
          {
            expr: grownEachBy('device, reason', REJECTIONS, `${DEVICE},stage="get_pfn"`),
            legend: '{{device}} rejected: {{reason}}',
          },
        ],
        bars: true,
        empty: NO_FAULTS,
        links: [
          toDashboard('rejections', 'Rejected faults', { stage: 'get_pfn' }),
          runbook('VfioDmabufFaultRejected'),
        ],
      }),
      seriesPanel({
        title: 'Stopped vCPUs',
        description: 'Open incidents of faults that KVM could not resolve, by host.',
        width: 6,
        height: 8,
        queries: [
          {
            expr: `sum by (instance) (vfio_dmabuf_incidents{${FLEET},kind="fault_rejected"})`,
            legend: '{{instance}}',
          },
        ],
        empty: 'no host traces faults of guests',
        links: [
          toLivePage('These incidents', '${__field.labels.instance}', 'api/v1/incidents?kind=fault_rejected'),
          runbook('VfioDmabufFaultRejected'),
        ],
      }),
      seriesPanel({
        title: 'Zaps of guest mappings',
        description:
          'Times that KVM removed the pages of a buffer from its guest in each interval, at a revocation or a restore.',
        width: 6,
        height: 8,
        queries: [{ expr: grownEachBy('cause', 'vfio_dmabuf_zaps_total', DEVICE), legend: '{{cause}}' }],
        bars: true,
        empty: NO_ZAPS,
      }),
      seriesPanel({
        title: 'Duration of zaps',
        description: 'How long KVM took to remove the pages of a buffer from its guest at a revocation.',
        width: 6,
        height: 8,
        unit: 's',
        queries: medianAndP99('vfio_dmabuf_zap_duration_seconds', FLEET),
        empty: NO_ZAPS,
      }),
    ],
  };
}
