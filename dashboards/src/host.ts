import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { createDashboard } from './dashboard.ts';
import { runbook, toDashboard, toLivePage } from './links.ts';
import { cell, mapping, STATE_MAPPING, seriesPanel, statPanel, tablePanel, ZERO_IS_GOOD } from './panels.ts';
import { grown, grownEachBy, HOST, hostState, medianAndP99, zeroWhereTraced } from './queries.ts';
import { firingAlerts, privateMemoryPanel } from './trust.ts';
import { deviceVariable, hostVariable } from './variables.ts';

const DEVICE = `${HOST},device=~"$device"`;
function live(title: string, rest = '') {
  return toLivePage(title, '${instance}', rest);
}
function perDevice(expr: string): string {
  return `sum by (device) (${expr})`;
}

/** What is wrong on this host, with which device, and are the numbers reliable? */
export function host(): Dashboard {
  return createDashboard({
    name: 'host',
    description: 'One host: its devices and VMs, imports, rejections and revocations.',
    variables: [hostVariable(true), deviceVariable(HOST)],
    matchers: HOST,
    links: [
      live('Live page of this host'),
      live('Incidents of this host', 'api/v1/incidents'),
      live('Status of its tracer', 'api/v1/status'),
    ],
    sections: [
      {
        panels: [
          statPanel({
            title: 'Traced now',
            description:
              'Whether bpftrace runs on this host now. If not, all counters here keep their last value.',
            width: 4,
            height: 4,
            queries: [{ expr: hostState(HOST) }],
            mappings: STATE_MAPPING,
            empty: 'not scraped',
            links: [
              live('Why: its status', 'api/v1/status'),
              runbook('VfioDmabufTracerBlind'),
              runbook('VfioDmabufTracerDown'),
            ],
          }),
          privateMemoryPanel(HOST, 5, { instance: '${instance}' }),
          statPanel({
            title: 'Open incidents',
            description: 'Incidents that are open now, without never_imported.',
            width: 4,
            height: 4,
            queries: [{ expr: `sum(vfio_dmabuf_incidents{${HOST},kind!="never_imported"})` }],
            steps: ZERO_IS_GOOD,
            empty: 'the probes for incidents are not attached',
            links: [live('Incidents of this host', 'api/v1/incidents?state=open')],
          }),
          statPanel({
            title: 'Rejected import stages',
            description:
              'Import stages that the kernel rejected in the time range. 0 only if a probe traces them.',
            width: 4,
            height: 4,
            queries: [
              { expr: zeroWhereTraced(grown('vfio_dmabuf_import_rejections_total', HOST), HOST, 'attach') },
            ],
            steps: ZERO_IS_GOOD,
            empty: 'imports are not traced',
            links: [
              toDashboard('rejections', 'Importer rejections', { instance: '${instance}' }),
              live('Who was rejected', 'api/v1/rejections'),
            ],
          }),
          statPanel({
            title: 'Lost mappings',
            description:
              'iommufd mappings that a revocation removed and that were not remapped. Device-to-device DMA to them faults.',
            width: 3,
            height: 4,
            queries: [{ expr: zeroWhereTraced(`vfio_dmabuf_lost_mappings{${HOST}}`, HOST, 'iommufd_map') }],
            steps: ZERO_IS_GOOD,
            empty: 'not traced',
            links: [runbook('VfioDmabufLostMappings')],
          }),
          statPanel({
            title: 'Source and buffer state',
            description:
              'live: this host; replay: a recording. exact: a snapshot has confirmed the buffers since the last loss or blind time.',
            width: 4,
            height: 4,
            queries: [
              {
                expr: `max(vfio_dmabuf_source_info{${HOST},kind="live"} or 2 * vfio_dmabuf_source_info{${HOST},kind="replay"})`,
                legend: 'source',
              },
              { expr: `min(3 + vfio_dmabuf_buffer_state_exact{${HOST}})`, legend: 'buffers' },
              { expr: `max(5 * vfio_dmabuf_simulation_info{${HOST}})`, legend: 'faults' },
            ],
            mappings: [
              mapping({
                1: ['live', 'green'],
                2: ['REPLAY', 'orange'],
                3: ['inexact', 'orange'],
                4: ['exact', 'green'],
                5: ['SIMULATED', 'orange'],
              }),
            ],
            empty: 'not scraped',
            links: [runbook('VfioDmabufReplayScraped'), runbook('VfioDmabufBufferStateInexact')],
          }),
          tablePanel({
            title: 'Devices',
            description:
              'Devices that export or import memory, and their VMs. Revocations and rejections are counts in the time range. A dash means that there is no such series.',
            width: 24,
            height: 8,
            queries: [
              {
                expr: `group by (device, name, vendor, driver, iommu_group, numa_node) (vfio_dmabuf_device_info{${DEVICE}})`,
              },
              { expr: `group by (device, vm, kind) (vfio_dmabuf_vm_info{${DEVICE}})` },
              { expr: perDevice(`vfio_dmabuf_buffers{${DEVICE},state="live"}`) },
              { expr: perDevice(`vfio_dmabuf_buffers{${DEVICE},state="revoked"}`) },
              { expr: perDevice(`vfio_dmabuf_buffer_bytes{${DEVICE}}`) },
              { expr: perDevice(`vfio_dmabuf_buffers{${DEVICE},privacy="private"}`) },
              { expr: perDevice(`vfio_dmabuf_lost_mappings{${DEVICE}}`) },
              { expr: perDevice(grown('vfio_dmabuf_revocations_total', DEVICE)) },
              { expr: perDevice(grown('vfio_dmabuf_export_rejections_total', DEVICE)) },
              { expr: perDevice(`vfio_dmabuf_device_incidents{${DEVICE}}`) },
              { expr: perDevice(grown('vfio_dmabuf_import_rejections_total', DEVICE)) },
            ],
            columns: [
              {
                from: 'device',
                title: 'Device',
                links: [
                  toDashboard('privacy', 'Private exports of this device', {
                    instance: '${instance}',
                    device: cell('Device'),
                  }),
                  live('Buffers of this device', `api/v1/buffers?device=${cell('Device')}`),
                  live('Incidents of this device', `api/v1/incidents?device=${cell('Device')}`),
                ],
              },
              { from: 'vendor', title: 'Vendor' },
              { from: 'name', title: 'Name' },
              {
                from: 'vm',
                title: 'VM',
                links: [
                  toDashboard('privacy', 'Devices of this VM', { instance: '${instance}', vm: cell('VM') }),
                ],
              },
              { from: 'kind', title: 'Kind' },
              { from: 'driver', title: 'Driver' },
              { from: 'iommu_group', title: 'Group' },
              { from: 'numa_node', title: 'NUMA' },
              { from: 'C', title: 'Live' },
              { from: 'D', title: 'RevokedNow', steps: ZERO_IS_GOOD },
              { from: 'F', title: 'Private' },
              { from: 'E', title: 'Bytes', unit: 'bytes' },
              { from: 'G', title: 'LostMappings', steps: ZERO_IS_GOOD },
              { from: 'H', title: 'Revocations', unit: 'short' },
              { from: 'I', title: 'Rejected', unit: 'short', steps: ZERO_IS_GOOD },
              {
                from: 'K',
                title: 'ImportsRejected',
                unit: 'short',
                steps: ZERO_IS_GOOD,
                links: [
                  toDashboard('rejections', 'Rejections of its buffers', {
                    instance: '${instance}',
                    device: cell('Device'),
                  }),
                ],
              },
              { from: 'J', title: 'Incidents', steps: ZERO_IS_GOOD },
            ],
            hide: ['A', 'B'],
            empty: 'no exports or imports on this host, or nothing is traced',
          }),
          firingAlerts(HOST, 12, 7),
          seriesPanel({
            title: 'Open incidents, by kind',
            description: 'Open incidents by kind. A kind is absent if its probes are not attached.',
            width: 12,
            height: 7,
            queries: [{ expr: `sum by (kind) (vfio_dmabuf_incidents{${HOST}})`, legend: '{{kind}}' }],
            empty: 'the probes for incidents are not attached',
            links: [live('These incidents', 'api/v1/incidents?kind=${__field.labels.kind}')],
          }),
        ],
      },
      {
        title: 'Exports',
        panels: [
          seriesPanel({
            title: 'Exports and releases',
            description: 'Exports that returned a descriptor, and released buffers, per second.',
            width: 8,
            height: 8,
            unit: 'ops',
            queries: [
              {
                expr: `sum by (privacy) (rate(vfio_dmabuf_exports_total{${DEVICE}}[$__rate_interval]))`,
                legend: 'exported {{privacy}}',
              },
              {
                expr: `sum(rate(vfio_dmabuf_releases_total{${HOST}}[$__rate_interval]))`,
                legend: 'released, all devices',
              },
            ],
            empty: 'no exports, or the probe is not attached',
          }),
          seriesPanel({
            title: 'Exports rejected, by reason',
            description: 'Exports that the kernel rejected in each interval.',
            width: 8,
            height: 8,
            queries: [
              {
                expr: grownEachBy('device, reason, errno', 'vfio_dmabuf_export_rejections_total', DEVICE),
                legend: '{{device}}: {{reason}} ({{errno}})',
              },
            ],
            bars: true,
            stack: true,
            empty: 'no rejected exports, or the probe is not attached',
            links: [
              live('What this reason means', 'api/v1/reasons/${__field.labels.reason}'),
              live('On the live page', '#reason=${__field.labels.reason}'),
              runbook('VfioDmabufExportRejections'),
            ],
          }),
          seriesPanel({
            title: 'Duration of exports',
            description: 'Duration of export calls, rejected ones included: median and 99th percentile.',
            width: 8,
            height: 8,
            unit: 's',
            queries: medianAndP99('vfio_dmabuf_export_duration_seconds', HOST),
            empty: 'no exports, or the probe is not attached',
          }),
          seriesPanel({
            title: 'Buffers, by device and state',
            description: 'VFIO dma-bufs that exist. Live ones may be mapped, revoked ones may not.',
            width: 12,
            height: 8,
            queries: [
              {
                expr: `sum by (device, state) (vfio_dmabuf_buffers{${DEVICE}})`,
                legend: '{{device}}, {{state}}',
              },
            ],
            stack: true,
            empty: 'no buffers, or nothing is traced',
          }),
          seriesPanel({
            title: 'Memory exported',
            description: 'Bytes of device memory that were exported, per second.',
            width: 12,
            height: 8,
            unit: 'Bps',
            queries: [
              {
                expr: `sum by (device) (rate(vfio_dmabuf_exported_bytes_total{${DEVICE}}[$__rate_interval]))`,
                legend: '{{device}}',
              },
            ],
            empty: 'no exports, or the probe is not attached',
          }),
        ],
      },
      {
        title: 'Imports',
        panels: [
          seriesPanel({
            title: 'Import stages',
            description: 'Import stages that succeeded, per second, by importer.',
            width: 8,
            height: 8,
            unit: 'ops',
            queries: [
              {
                expr: `sum by (importer, stage) (rate(vfio_dmabuf_imports_total{${DEVICE}}[$__rate_interval]))`,
                legend: '{{importer}}: {{stage}}',
              },
            ],
            empty: 'no imports, or the probes are not attached',
          }),
          seriesPanel({
            title: 'Rejected import stages, by reason',
            description:
              'Import calls that the kernel rejected in each interval, by the device that exported the buffer.',
            width: 8,
            height: 8,
            queries: [
              {
                expr: grownEachBy(
                  'device, importer, stage, reason',
                  'vfio_dmabuf_import_rejections_total',
                  DEVICE,
                ),
                legend: '{{device}}: {{importer}} at {{stage}}: {{reason}}',
              },
            ],
            bars: true,
            stack: true,
            empty: 'no rejected imports, or the probes are not attached',
            links: [
              live('What this reason means', 'api/v1/reasons/${__field.labels.reason}'),
              live('On the live page', '#reason=${__field.labels.reason}'),
              runbook('VfioDmabufImportRejected'),
            ],
          }),
          seriesPanel({
            title: 'Attachments',
            description:
              'Attachments now, by exporting device and importer. unknown: only a snapshot has counted the attachment.',
            width: 8,
            height: 8,
            queries: [
              {
                expr: `sum by (device, importer) (vfio_dmabuf_attachments{${DEVICE}})`,
                legend: '{{device}}: {{importer}}',
              },
            ],
            stack: true,
            empty: 'no attachments, or nothing is traced',
            links: [
              live(
                'These attachments',
                'api/v1/imports?device=${__field.labels.device}&importer=${__field.labels.importer}',
              ),
            ],
          }),
        ],
      },
      {
        title: 'Revocations',
        panels: [
          seriesPanel({
            title: 'Revocations and restorations',
            description: 'Buffers that were revoked or restored in each interval, by cause.',
            width: 8,
            height: 8,
            queries: [
              {
                expr: grownEachBy('device, cause', 'vfio_dmabuf_revocations_total', DEVICE),
                legend: '{{device}} revoked: {{cause}}',
              },
              {
                expr: grownEachBy('device, cause', 'vfio_dmabuf_restorations_total', DEVICE),
                legend: '{{device}} restored: {{cause}}',
              },
            ],
            bars: true,
            empty: 'no revocations, or the probe is not attached',
          }),
          seriesPanel({
            title: 'Duration of revocations',
            description:
              'Duration of the calls that revoke. Since Linux 7.1 they wait for every importer; a reset of the device takes as long.',
            width: 8,
            height: 8,
            unit: 's',
            queries: medianAndP99('vfio_dmabuf_revocation_duration_seconds', HOST),
            empty: 'no revocations, or the probe is not attached',
            links: [
              live('Revocations that wait', 'api/v1/incidents?kind=revoke_waiting'),
              runbook('VfioDmabufRevocationSlow'),
            ],
          }),
          seriesPanel({
            title: 'Lost mappings, by device',
            description:
              'iommufd mappings that a revocation removed and that were not remapped. The kernel never remaps them.',
            width: 8,
            height: 8,
            queries: [{ expr: perDevice(`vfio_dmabuf_lost_mappings{${DEVICE}}`), legend: '{{device}}' }],
            empty: 'no buffers, or the probes are not attached',
            links: [runbook('VfioDmabufLostMappings')],
          }),
        ],
      },
    ],
  });
}
