import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { createDashboard } from './dashboard.ts';
import { hostLinks, runbook, toDashboard, toLivePage } from './links.ts';
import {
  cell,
  DEVICE_ON_HOST,
  ROW_HOST,
  seriesPanel,
  statPanel,
  tablePanel,
  toLivePageOfRow,
  ZERO_IS_GOOD,
} from './panels.ts';
import { FLEET, grown, grownBy, grownEachBy, quantile, zeroWhereTraced } from './queries.ts';
import { notTracedPanel } from './trust.ts';
import { hostVariable, privacyVariable, valuesOf } from './variables.ts';

/** Matchers for durations, which have neither device nor privacy. */
const STAGES = `${FLEET},importer=~"$importer",stage=~"$stage"`;
const REJECTED_TO_ALL = `${STAGES},reason=~"$reason"`;
const BUFFERS = 'device=~"$device",privacy=~"$privacy"';
const REJECTED = `${REJECTED_TO_ALL},${BUFFERS}`;
const REJECTIONS = 'vfio_dmabuf_import_rejections_total';
/** Rejections by the device of the buffer. */
function byDevice(matchers: string): string {
  return grownBy('cluster, instance, device', REJECTIONS, matchers);
}
const STEP_COUNT = 'vfio_dmabuf_import_duration_seconds_count';

/** Which importers are rejected, why, and what is the fix? */
export function rejections(): Dashboard {
  return createDashboard({
    name: 'rejections',
    description:
      'Which importer was rejected at which stage, which device exported the buffer, and why. Links lead to the explanation and the fix.',
    variables: [
      hostVariable(),
      valuesOf({
        name: 'device',
        label: 'Device',
        description:
          'PCI address of the device that exported the buffer. Shares and durations ignore it, because durations have no device.',
        selector: `${REJECTIONS}{${FLEET}}`,
        of: 'device',
      }),
      privacyVariable(`${REJECTIONS}{${FLEET}}`),
      valuesOf({
        name: 'importer',
        label: 'Importer',
        description: 'The driver of the importing device, or iommufd or kvm.',
        selector: `${STEP_COUNT}{${FLEET}}`,
        of: 'importer',
      }),
      valuesOf({
        name: 'stage',
        label: 'Stage',
        description: 'The stage of the import.',
        selector: `${STEP_COUNT}{${FLEET}}`,
        of: 'stage',
      }),
      valuesOf({
        name: 'reason',
        label: 'Reason',
        description: 'Why the kernel rejected the call. Only panels of rejections use it.',
        selector: `${REJECTIONS}{${FLEET}}`,
        of: 'reason',
      }),
    ],
    matchers: FLEET,
    sections: [
      {
        panels: [
          statPanel({
            title: 'Rejected import stages',
            description:
              'Import stages that the kernel rejected in the time range. 0 only if a probe traces them.',
            width: 5,
            height: 4,
            queries: [{ expr: zeroWhereTraced(grown(REJECTIONS, REJECTED), FLEET, 'attach') }],
            steps: ZERO_IS_GOOD,
            empty: 'no host traces imports',
            links: [runbook('VfioDmabufImportRejected')],
          }),
          statPanel({
            title: 'Share of rejected stages',
            description:
              'Share of calls that the kernel rejected in the time range, at the worst stage of each importer, over all devices. The five worst importers.',
            width: 9,
            height: 4,
            unit: 'percentunit',
            queries: [
              {
                expr: `topk(5, max by (importer) (${grownBy('importer, stage', REJECTIONS, REJECTED_TO_ALL)} / (${grownBy('importer, stage', STEP_COUNT, STAGES)} > 0)))`,
                legend: '{{importer}}',
              },
            ],
            steps: [
              [0, 'green'],
              [0.05, 'orange'],
              [0.5, 'red'],
            ],
            empty: 'no rejections on traced hosts',
            links: [runbook('VfioDmabufImportsFailing')],
          }),
          statPanel({
            title: 'Hosts that rejected',
            description:
              'Hosts with a rejected import stage in the time range, and hosts that trace imports.',
            width: 5,
            height: 4,
            queries: [
              {
                expr: `count(sum by (cluster, job, instance) (${grown(REJECTIONS, REJECTED)}) > 0) or 0 * count(vfio_dmabuf_probe_attached{${FLEET},probe="attach"} == 1)`,
                legend: 'rejected',
              },
              { expr: `count(vfio_dmabuf_probe_attached{${FLEET},probe="attach"} == 1)`, legend: 'traced' },
            ],
            empty: 'no host traces imports',
            links: [runbook('VfioDmabufRejectionsOnManyHosts')],
          }),
          notTracedPanel(FLEET, 5),
          tablePanel({
            title: 'Who was rejected, and why',
            description:
              'Rejected import calls in the time range. Device is the exporting device; unknown if it was closed before, or if VFIO did not export the buffer. At ioas_map it is the device of the BAR. The links of Reason lead to the explanation and the fix, those of Host to the processes.',
            width: 24,
            height: 9,
            queries: [
              {
                expr: `${grownBy('cluster, instance, device, privacy, importer, stage, reason, errno', REJECTIONS, REJECTED)} > 0`,
              },
            ],
            columns: [
              {
                from: 'reason',
                title: 'Reason',
                links: [
                  toLivePageOfRow('What it means and what to do', `api/v1/reasons/${cell('Reason')}`),
                  toLivePageOfRow('On the live page', `#reason=${cell('Reason')}`),
                  runbook('VfioDmabufImportRejected'),
                ],
              },
              { from: 'errno', title: 'Errno' },
              { from: 'stage', title: 'Stage' },
              {
                from: 'importer',
                title: 'Importer',
                links: [
                  toLivePageOfRow(
                    'Rejections of this importer',
                    `api/v1/rejections?importer=${cell('Importer')}`,
                  ),
                ],
              },
              {
                from: 'device',
                title: 'Device',
                links: [
                  DEVICE_ON_HOST,
                  toLivePageOfRow('Rejections of its buffers', `api/v1/rejections?device=${cell('Device')}`),
                ],
              },
              { from: 'privacy', title: 'Privacy' },
              { from: 'instance', title: 'Host', links: hostLinks(ROW_HOST) },
              { from: 'cluster', title: 'Cluster' },
              { from: 'A', title: 'Rejected', unit: 'short' },
            ],
            sortBy: { column: 'Rejected', desc: true },
            empty: 'no rejections on traced hosts',
          }),
        ],
      },
      {
        title: 'Over time',
        panels: [
          seriesPanel({
            title: 'Rejected, by reason',
            description: 'Rejected import stages in each interval, by reason.',
            width: 12,
            height: 8,
            queries: [{ expr: grownEachBy('reason', REJECTIONS, REJECTED), legend: '{{reason}}' }],
            bars: true,
            stack: true,
            empty: 'no rejections on traced hosts',
          }),
          seriesPanel({
            title: 'Rejected, by importer and stage',
            description: 'Rejected import stages in each interval, by importer and stage.',
            width: 12,
            height: 8,
            queries: [
              {
                expr: grownEachBy('importer, stage', REJECTIONS, REJECTED),
                legend: '{{importer}} at {{stage}}',
              },
            ],
            bars: true,
            stack: true,
            empty: 'no rejections on traced hosts',
          }),
          seriesPanel({
            title: 'Rejected, by device',
            description:
              'Rejected import calls in each interval, by exporting device. The ten devices with the most.',
            width: 12,
            height: 8,
            queries: [
              {
                expr: `topk(10, ${grownEachBy('instance, device, privacy', REJECTIONS, REJECTED)})`,
                legend: '{{instance}}: {{device}} ({{privacy}})',
              },
            ],
            bars: true,
            stack: true,
            empty: 'no rejections on traced hosts',
            links: [
              toLivePage(
                'Rejections of its buffers',
                '${__field.labels.instance}',
                'api/v1/rejections?device=${__field.labels.device}',
              ),
            ],
          }),
          tablePanel({
            title: 'Whose buffers were rejected',
            description: 'Rejected import calls in the time range, by exporting device and its VM.',
            width: 12,
            height: 8,
            queries: [
              { expr: `${byDevice(REJECTED)} > 0` },
              { expr: `${byDevice(`${REJECTED},privacy="private"`)} > 0` },
              {
                expr: `group by (cluster, instance, device, vm) (vfio_dmabuf_vm_info{${FLEET}} and on (cluster, instance, device) ${byDevice(REJECTED)} > 0)`,
              },
            ],
            columns: [
              {
                from: 'device',
                title: 'Device',
                links: [
                  DEVICE_ON_HOST,
                  toDashboard('privacy', 'Private exports of this device', {
                    ...ROW_HOST,
                    device: cell('Device'),
                  }),
                  toLivePageOfRow('Rejections of its buffers', `api/v1/rejections?device=${cell('Device')}`),
                ],
              },
              { from: 'vm', title: 'VM' },
              { from: 'instance', title: 'Host', links: hostLinks(ROW_HOST) },
              { from: 'cluster', title: 'Cluster' },
              { from: 'B', title: 'Private', unit: 'short', steps: ZERO_IS_GOOD },
              { from: 'A', title: 'Rejected', unit: 'short' },
            ],
            hide: ['C'],
            sortBy: { column: 'Rejected', desc: true },
            empty: 'no rejections on traced hosts',
          }),
          tablePanel({
            title: 'Exports rejected',
            description: 'Rejected exports in the time range, by device and reason.',
            width: 24,
            height: 8,
            queries: [
              {
                expr: `${grownBy('cluster, instance, device, reason, errno', 'vfio_dmabuf_export_rejections_total', FLEET)} > 0`,
              },
            ],
            columns: [
              {
                from: 'reason',
                title: 'Reason',
                links: [
                  toLivePageOfRow('What it means and what to do', `api/v1/reasons/${cell('Reason')}`),
                  runbook('VfioDmabufExportRejections'),
                ],
              },
              { from: 'errno', title: 'Errno' },
              { from: 'device', title: 'Device' },
              { from: 'instance', title: 'Host', links: hostLinks(ROW_HOST) },
              { from: 'cluster', title: 'Cluster' },
              { from: 'A', title: 'Rejected', unit: 'short' },
            ],
            sortBy: { column: 'Rejected', desc: true },
            empty: 'no rejected exports on traced hosts',
          }),
        ],
      },
      {
        title: 'Successful calls and durations',
        panels: [
          seriesPanel({
            title: 'Stages that succeeded',
            description: 'Import stages that succeeded, per second, by importer and stage.',
            width: 12,
            height: 8,
            unit: 'ops',
            queries: [
              {
                expr: `sum by (importer, stage) (rate(vfio_dmabuf_imports_total{${STAGES},${BUFFERS}}[$__rate_interval]))`,
                legend: '{{importer}}: {{stage}}',
              },
            ],
            empty: 'no imports, or the probes are not attached',
          }),
          seriesPanel({
            title: 'Mappings, by route',
            description:
              'Mappings per second, by importer and route: within one device or PCIe switch (bus), through the root ' +
              'complex with physical addresses (host_bridge), or translated there (iommu). The last two are slower.',
            width: 12,
            height: 8,
            unit: 'ops',
            queries: [
              {
                expr: `sum by (importer, route) (rate(vfio_dmabuf_mapping_routes_total{${FLEET},importer=~"$importer",${BUFFERS}}[$__rate_interval]))`,
                legend: '{{importer}}: {{route}}',
              },
            ],
            empty: 'no mappings, or the probe is not attached',
          }),
          seriesPanel({
            title: 'Duration of import stages, p99',
            description: '99th percentile of the duration of import stages, rejected ones included.',
            width: 12,
            height: 8,
            unit: 's',
            queries: [
              {
                expr: quantile(0.99, 'vfio_dmabuf_import_duration_seconds', STAGES, 'importer, stage'),
                legend: '{{importer}}: {{stage}}',
              },
            ],
            empty: 'no imports, or the probes are not attached',
          }),
          seriesPanel({
            title: 'Detaches and unmaps',
            description: 'Attachments and mappings that importers ended, per second.',
            width: 12,
            height: 8,
            unit: 'ops',
            queries: [
              {
                expr: `sum by (importer) (rate(vfio_dmabuf_detaches_total{${FLEET},importer=~"$importer",${BUFFERS}}[$__rate_interval]))`,
                legend: '{{importer}}: detached',
              },
              {
                expr: `sum by (importer) (rate(vfio_dmabuf_unmaps_total{${FLEET},importer=~"$importer",${BUFFERS}}[$__rate_interval]))`,
                legend: '{{importer}}: unmapped',
              },
            ],
            empty: 'no detaches or unmaps, or the probes are not attached',
            links: [toDashboard('fleet', 'Fleet', {})],
          }),
        ],
      },
    ],
  });
}
