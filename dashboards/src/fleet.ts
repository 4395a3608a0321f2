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
  zeroWhereTraced,
} from './queries.ts';
import { firingAlerts, notTracedPanel, privateMemoryPanel, stateTimeline } from './trust.ts';
import { hostVariable } from './variables.ts';

function perHost(expr: string): string {
  return `sum by (cluster, instance) (${expr})`;
}

/** Which host needs attention? */
export function fleet(): Dashboard {
  return createDashboard({
    name: 'fleet',
    description: 'All hosts: which are traced, where private memory is at risk, where imports are rejected.',
    variables: [hostVariable()],
    matchers: FLEET,
    sections: [
      {
        panels: [
          statPanel({
            title: 'Hosts traced',
            description: 'Hosts on which bpftrace runs now, and hosts that Prometheus knows.',
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
          privateMemoryPanel(FLEET, 4, {}),
          statPanel({
            title: 'Open incidents',
            description:
              'Incidents that are open now, without never_imported. /api/v1/incidents of a host lists them.',
            width: 4,
            height: 4,
            queries: [{ expr: `sum(vfio_dmabuf_incidents{${FLEET},kind!="never_imported"})` }],
            steps: ZERO_IS_GOOD,
            empty: 'no host has the probes for incidents',
          }),
          statPanel({
            title: 'Rejected import stages',
            description:
              'Import stages that the kernel rejected in the time range. 0 only if a probe traces them.',
            width: 4,
            height: 4,
            queries: [
              {
                expr: zeroWhereTraced(grown('vfio_dmabuf_import_rejections_total', FLEET), FLEET, 'attach'),
              },
            ],
            steps: ZERO_IS_GOOD,
            empty: 'no host traces imports',
            links: [toDashboard('rejections', 'Importer rejections', {})],
          }),
          statPanel({
            title: 'Hosts with counts too low',
            description:
              'Hosts with a full kernel map, skipped probes, missed returns or calls given up at a handover in the time range: their counters are lower bounds.',
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
              'One row for each host, the worst state first. A dash means unknown: the probe is not attached, nothing was read yet, or the tracer is down. ' +
              'Rejected and Lost are counts in the time range.',
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
        title: 'Rejections and revocations',
        panels: [
          seriesPanel({
            title: 'Rejected import stages, by reason',
            description:
              'Import stages that the kernel rejected in each interval. Hosts without rejections, and hosts that are not traced, are absent.',
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
            empty: 'no rejections on traced hosts',
            links: [
              toDashboard('rejections', 'Importer rejections', { reason: '${__field.labels.reason}' }),
              runbook('VfioDmabufImportRejected'),
            ],
          }),
          tablePanel({
            title: 'The same rejection on many hosts',
            description:
              'Rejections in the time range by importer and reason, and the number of hosts. Many hosts at once usually have one cause: a kernel, a driver, a VMM.',
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
            empty: 'no rejections on traced hosts',
          }),
          seriesPanel({
            title: 'Revocations, by cause',
            description: 'Buffers whose memory was revoked from all importers in each interval.',
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
            empty: 'no revocations on traced hosts',
          }),
          seriesPanel({
            title: 'Open incidents, by kind',
            description: 'Open incidents of all hosts. A kind is absent if no host has its probes attached.',
            width: 12,
            height: 8,
            queries: [{ expr: `sum by (kind) (vfio_dmabuf_incidents{${FLEET}})`, legend: '{{kind}}' }],
            empty: 'no host has the probes for incidents',
          }),
        ],
      },
      {
        title: 'Shared memory',
        panels: [
          seriesPanel({
            title: 'Buffers, by privacy and state',
            description: 'VFIO dma-bufs that exist. On a kernel without private exports each is undeclared.',
            width: 8,
            height: 8,
            queries: [
              {
                expr: `sum by (privacy, state) (vfio_dmabuf_buffers{${FLEET}})`,
                legend: '{{privacy}}, {{state}}',
              },
            ],
            stack: true,
            empty: 'no buffers on traced hosts',
          }),
          seriesPanel({
            title: 'Memory shared',
            description: 'Bytes of device memory in existing buffers.',
            width: 8,
            height: 8,
            unit: 'bytes',
            queries: [
              { expr: `sum by (privacy) (vfio_dmabuf_buffer_bytes{${FLEET}})`, legend: '{{privacy}}' },
            ],
            stack: true,
            empty: 'no buffers on traced hosts',
          }),
          tablePanel({
            title: 'Kernels',
            description:
              'Kernel and bpftrace of the hosts, and the dialect of the kernel. Hosts with the dialect core or none cannot be traced.',
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
}
