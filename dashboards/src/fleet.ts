import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { createDashboard } from './dashboard.ts';
import { hostLinks, runbook, toDashboard, toLivePage } from './links.ts';
import {
  cell,
  ROW_HOST,
  STATE_MAPPING,
  seriesPanel,
  statPanel,
  tablePanel,
  ZERO_IS_GOOD,
  ZERO_OR_ALARM,
} from './panels.ts';
import {
  FLEET,
  grown,
  grownBy,
  grownEachBy,
  hostState,
  ON_HOST,
  targets,
  zeroWhereWatched,
} from './queries.ts';
import { breachesPanel, firingAlerts, notTracedPanel, stateTimeline } from './trust.ts';
import { hostVariable } from './variables.ts';

const perHost = (expr: string): string => `sum by (cluster, instance) (${expr})`;

/** Which host needs me? */
export const fleet = (): Dashboard =>
  createDashboard({
    name: 'fleet',
    description:
      'All hosts: which are traced, where private memory is in danger, where imports are rejected.',
    variables: [hostVariable()],
    matchers: FLEET,
    sections: [
      {
        panels: [
          statPanel({
            title: 'Hosts traced',
            description: 'Hosts on which bpftrace runs now, of those that Prometheus scrapes.',
            width: 4,
            height: 4,
            queries: [
              { expr: `sum(vfio_dmabuf_up{${FLEET}})`, legend: 'traced' },
              { expr: `count(${targets(FLEET)})`, legend: 'known' },
            ],
            empty: 'no host is scraped',
            links: [toDashboard('tracer', 'The tracer itself', {})],
          }),
          notTracedPanel(FLEET, 4),
          breachesPanel(FLEET, 4, {}),
          statPanel({
            title: 'Open incidents',
            description:
              'Incidents that are open now, without buffers that nobody has imported yet. /api/v1/incidents of a host tells each.',
            width: 4,
            height: 4,
            queries: [{ expr: `sum(vfio_dmabuf_incidents{${FLEET},kind!="never_imported"})` }],
            steps: ZERO_IS_GOOD,
            empty: 'no host can tell',
          }),
          statPanel({
            title: 'Rejected import stages',
            description:
              'Import steps that the kernel rejected in the time shown; 0 only where a probe watches for them.',
            width: 4,
            height: 4,
            queries: [
              {
                expr: zeroWhereWatched(grown('vfio_dmabuf_import_rejections_total', FLEET), FLEET, 'attach'),
              },
            ],
            steps: ZERO_IS_GOOD,
            empty: 'no host watches imports',
            links: [toDashboard('rejections', 'Importer rejections', {})],
          }),
          statPanel({
            title: 'Hosts with counts too low',
            description:
              'Hosts that in the time shown had a full kernel map, skipped probes, missed returns or calls given up at a handover: their counters are lower bounds.',
            width: 4,
            height: 4,
            queries: [
              {
                expr:
                  'count((sum by (cluster, job, instance) ' +
                  `(increase(vfio_dmabuf_counts_lost_total{${FLEET}}[$__range])) + ` +
                  `sum by (cluster, job, instance) (increase(vfio_dmabuf_missed_returns_total{${FLEET}}[$__range]))) > 0) ` +
                  `or 0 * count(vfio_dmabuf_up{${FLEET}} == 1)`,
              },
            ],
            steps: ZERO_OR_ALARM,
            empty: 'no host is traced',
            links: [toDashboard('tracer', 'The tracer itself', {}), runbook('VfioDmabufCountsIncomplete')],
          }),
          tablePanel({
            title: 'Hosts',
            description:
              'Each host in one row, the worst state first. A dash stands where the host cannot tell: the probe is not attached, nothing was read yet, or the tracer is down. ' +
              'Rejected and Lost are counted over the time shown.',
            width: 24,
            height: 9,
            queries: [
              { expr: `min by (cluster, instance) (${hostState(FLEET)})` },
              {
                expr: `max by (cluster, instance) (time() - (vfio_dmabuf_last_map_read_timestamp_seconds{${FLEET}} > 0) and ${ON_HOST} vfio_dmabuf_source_info{${FLEET},kind="live"})`,
              },
              { expr: `group by (cluster, instance, kind) (vfio_dmabuf_source_info{${FLEET}})` },
              { expr: perHost(`vfio_dmabuf_incidents{${FLEET},kind!="never_imported"}`) },
              { expr: perHost(grown('vfio_dmabuf_policy_violations_total', FLEET)) },
              { expr: perHost(`vfio_dmabuf_lost_mappings{${FLEET}}`) },
              { expr: perHost(grown('vfio_dmabuf_import_rejections_total', FLEET)) },
              { expr: perHost(grown('vfio_dmabuf_export_rejections_total', FLEET)) },
              { expr: perHost(`vfio_dmabuf_buffers{${FLEET}}`) },
              { expr: perHost(`vfio_dmabuf_buffers{${FLEET},privacy="private"}`) },
              { expr: perHost(`vfio_dmabuf_buffer_bytes{${FLEET}}`) },
              { expr: perHost(`increase(vfio_dmabuf_events_lost_total{${FLEET}}[$__range])`) },
            ],
            columns: [
              { from: 'instance', title: 'Host', links: hostLinks(ROW_HOST) },
              { from: 'cluster', title: 'Cluster' },
              { from: 'A', title: 'State', mappings: STATE_MAPPING, width: 90 },
              {
                from: 'B',
                title: 'Age',
                unit: 's',
                steps: [
                  [0, 'text'],
                  [15, 'red'],
                ],
              },
              { from: 'kind', title: 'Source' },
              {
                from: 'D',
                title: 'Incidents',
                steps: ZERO_IS_GOOD,
                links: [toLivePage('Incidents of this host', cell('Host'), 'api/v1/incidents?state=open')],
              },
              {
                from: 'E',
                title: 'Violations',
                steps: ZERO_OR_ALARM,
                links: [toDashboard('privacy', 'Private exports and VMs', ROW_HOST)],
              },
              {
                from: 'F',
                title: 'LostMappings',
                steps: ZERO_IS_GOOD,
                links: [runbook('VfioDmabufLostMappings')],
              },
              {
                from: 'G',
                title: 'Rejected',
                unit: 'short',
                steps: ZERO_IS_GOOD,
                links: [toDashboard('rejections', 'Importer rejections', ROW_HOST)],
              },
              { from: 'H', title: 'ExportsRejected', unit: 'short', steps: ZERO_IS_GOOD },
              { from: 'I', title: 'Buffers' },
              { from: 'J', title: 'Private' },
              { from: 'K', title: 'Bytes', unit: 'bytes' },
              { from: 'L', title: 'Lost', unit: 'short', steps: ZERO_IS_GOOD },
            ],
            hide: ['C'],
            sortBy: { column: 'State', desc: false },
            empty: 'no host is scraped',
          }),
          stateTimeline(FLEET, 12, 8),
          firingAlerts(FLEET, 12, 8),
        ],
      },
      {
        title: 'What is rejected and taken away',
        panels: [
          seriesPanel({
            title: 'Rejected import stages, by reason',
            description:
              'Import steps that the kernel rejected in each interval. Absent where nothing was rejected, and where nothing watches.',
            width: 12,
            height: 8,
            queries: [
              {
                expr: grownEachBy('importer, reason', 'vfio_dmabuf_import_rejections_total', FLEET),
                legend: '{{importer}}: {{reason}}',
              },
            ],
            bars: true,
            stack: true,
            empty: 'nothing was rejected by a kernel that is watched',
            links: [
              toDashboard('rejections', 'Importer rejections', { reason: '${__field.labels.reason}' }),
              runbook('VfioDmabufImportRejected'),
            ],
          }),
          tablePanel({
            title: 'The same rejection on many hosts',
            description:
              'Rejections in the time shown by importer and reason, and on how many hosts. Many hosts at once have one cause: a kernel, a driver, a VMM.',
            width: 12,
            height: 8,
            queries: [
              {
                expr:
                  'count by (importer, reason) (sum by (cluster, instance, importer, reason) ' +
                  `(${grown('vfio_dmabuf_import_rejections_total', FLEET)}) > 0)`,
              },
              { expr: grownBy('importer, reason', 'vfio_dmabuf_import_rejections_total', FLEET) },
            ],
            columns: [
              { from: 'importer', title: 'Importer' },
              {
                from: 'reason',
                title: 'Reason',
                links: [toDashboard('rejections', 'These rejections', { reason: cell('Reason') })],
              },
              { from: 'A', title: 'Hosts' },
              { from: 'B', title: 'Rejected', unit: 'short' },
            ],
            sortBy: { column: 'Hosts', desc: true },
            empty: 'nothing was rejected by a kernel that is watched',
          }),
          seriesPanel({
            title: 'Revocations, by cause',
            description: 'Buffers whose memory was taken away from all importers in each interval.',
            width: 12,
            height: 8,
            queries: [
              {
                expr: grownEachBy('cause', 'vfio_dmabuf_revocations_total', FLEET),
                legend: '{{cause}}',
              },
            ],
            bars: true,
            stack: true,
            empty: 'nothing was revoked on a host that is watched',
          }),
          seriesPanel({
            title: 'Open incidents, by kind',
            description:
              'Incidents that are open, over all hosts. A kind that no host can tell of is absent.',
            width: 12,
            height: 8,
            queries: [{ expr: `sum by (kind) (vfio_dmabuf_incidents{${FLEET}})`, legend: '{{kind}}' }],
            empty: 'no host can tell',
          }),
        ],
      },
      {
        title: 'What is shared',
        panels: [
          seriesPanel({
            title: 'Buffers, by privacy and state',
            description:
              'VFIO dma-bufs that exist. undeclared is what a kernel without private exports says of each.',
            width: 8,
            height: 8,
            queries: [
              {
                expr: `sum by (privacy, state) (vfio_dmabuf_buffers{${FLEET}})`,
                legend: '{{privacy}}, {{state}}',
              },
            ],
            stack: true,
            empty: 'no buffer exists on a host that is traced',
          }),
          seriesPanel({
            title: 'Memory shared',
            description: 'Bytes of device memory in the buffers that exist.',
            width: 8,
            height: 8,
            unit: 'bytes',
            queries: [
              { expr: `sum by (privacy) (vfio_dmabuf_buffer_bytes{${FLEET}})`, legend: '{{privacy}}' },
            ],
            stack: true,
            empty: 'no buffer exists on a host that is traced',
          }),
          tablePanel({
            title: 'Kernels',
            description:
              'What the hosts run, and what their kernels can say of exports. A dialect core or none cannot be traced.',
            width: 8,
            height: 8,
            queries: [
              { expr: `count by (kernel, dialect, bpftrace) (vfio_dmabuf_kernel_dialect_info{${FLEET}})` },
            ],
            columns: [
              { from: 'kernel', title: 'Kernel' },
              { from: 'dialect', title: 'Dialect' },
              { from: 'bpftrace', title: 'bpftrace' },
              { from: 'A', title: 'Hosts' },
            ],
            sortBy: { column: 'Hosts', desc: true },
            empty: 'no host answers',
          }),
        ],
      },
    ],
  });
