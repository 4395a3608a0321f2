import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { createDashboard } from './dashboard.ts';
import { faultSection } from './faults.ts';
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
  ZERO_OR_ALARM,
} from './panels.ts';
import { byVm, DEVICE, incidentsOf, PRIVATE, REJECTIONS, VM, violationsOf } from './private-queries.ts';
import {
  FLEET,
  grownBy,
  grownEach,
  grownEachBy,
  ON_HOST,
  PRIVATE_KINDS,
  zeroWhereTraced,
} from './queries.ts';
import { notTracedPanel } from './trust.ts';
import { deviceVariable, hostVariable, vmVariable } from './variables.ts';

/** Is the private memory of VMs safe, and which VM owns it? */
export function privacy(): Dashboard {
  return createDashboard({
    name: 'privacy',
    description: 'Whether private device memory is safe, which VM owns it, and which importers asked for it.',
    variables: [hostVariable(), deviceVariable(FLEET), vmVariable(DEVICE)],
    matchers: FLEET,
    sections: [
      {
        panels: [
          statPanel({
            title: 'Accepted against the rules',
            description:
              'Binds that KVM accepted although another VM owns the buffer, or although its lookup failed: in the time range, and open now. This is a kernel defect.',
            width: 4,
            height: 4,
            queries: [
              { expr: violationsOf('foreign_vm'), legend: 'foreign VM' },
              { expr: violationsOf('accepted_not_vfio'), legend: 'not of VFIO' },
              { expr: incidentsOf('foreign_vm|accepted_not_vfio'), legend: 'open now' },
            ],
            steps: ZERO_OR_ALARM,
            empty: 'no traced kernel has private exports',
            links: [runbook('VfioDmabufPolicyViolation')],
          }),
          statPanel({
            title: 'Private memory offered',
            description:
              'Private buffers that an importer other than KVM tried to attach: in the time range, and open now. The incident shows whether it was accepted.',
            width: 4,
            height: 4,
            queries: [
              { expr: violationsOf('private_offered'), legend: 'offers' },
              { expr: incidentsOf('private_offered'), legend: 'open now' },
            ],
            steps: ZERO_OR_ALARM,
            empty: 'no traced kernel has private exports',
            links: [runbook('VfioDmabufPrivateMemoryOffered')],
          }),
          statPanel({
            title: 'Confidential memory shared',
            description:
              'Buffers of confidential VMs that an importer other than KVM has attached now, on kernels without private exports.',
            width: 4,
            height: 4,
            queries: [{ expr: incidentsOf('confidential_shared') }],
            steps: ZERO_OR_ALARM,
            empty: 'no mainline kernel is traced',
            links: [runbook('VfioDmabufConfidentialShared')],
          }),
          statPanel({
            title: 'Private without a VM',
            description:
              'Private exports of devices without a VM: in the time range, and open now. No VM can bind them.',
            width: 4,
            height: 4,
            queries: [
              { expr: violationsOf('private_without_vm'), legend: 'exports' },
              { expr: incidentsOf('private_without_vm'), legend: 'open now' },
            ],
            steps: ZERO_IS_GOOD,
            empty: 'no traced kernel has private exports',
            links: [runbook('VfioDmabufPrivateWithoutVm')],
          }),
          statPanel({
            title: 'Private-export support',
            description:
              'Hosts by the dialect of their kernel. private-v1 and private-v2 have private exports; on mainline every export is undeclared.',
            width: 4,
            height: 4,
            queries: [
              {
                expr: `count by (dialect) (vfio_dmabuf_kernel_dialect_info{${FLEET}} and ${ON_HOST} vfio_dmabuf_up{${FLEET}} == 1)`,
                legend: '{{dialect}}',
              },
            ],
            empty: 'no host is traced',
          }),
          notTracedPanel(FLEET, 4),
          tablePanel({
            title: 'VMs and their devices',
            description:
              'Each device that has exported, its VM, and how the VM is known. The kind comes from KVM; it is unknown if the kernel links the device to no VM.',
            width: 24,
            height: 9,
            queries: [
              {
                expr: `group by (cluster, instance, device, vm, uuid, kind, by, pod_namespace, pod_name, pod_uid) (vfio_dmabuf_vm_info{${VM}})`,
              },
              {
                expr: `sum by (cluster, instance, device) (vfio_dmabuf_buffers{${DEVICE},privacy="private"} and on (cluster, job, instance, device) vfio_dmabuf_vm_info{${VM}})`,
              },
              {
                expr: `sum by (cluster, instance, device) (vfio_dmabuf_buffers{${DEVICE},privacy=~"shared|undeclared"} and on (cluster, job, instance, device) vfio_dmabuf_vm_info{${VM}})`,
              },
              {
                expr: `sum by (cluster, instance, device) (vfio_dmabuf_buffer_bytes{${DEVICE}} and on (cluster, job, instance, device) vfio_dmabuf_vm_info{${VM}})`,
              },
              {
                expr: `group by (cluster, instance, device, vendor, name) (vfio_dmabuf_device_info{${DEVICE}} and on (cluster, job, instance, device) vfio_dmabuf_vm_info{${VM}})`,
              },
              {
                expr: `sum by (cluster, instance, device) (vfio_dmabuf_device_incidents{${DEVICE}} and on (cluster, job, instance, device) vfio_dmabuf_vm_info{${VM}})`,
              },
            ],
            columns: [
              { from: 'vm', title: 'VM' },
              { from: 'kind', title: 'Kind' },
              { from: 'uuid', title: 'UUID' },
              { from: 'pod_namespace', title: 'Namespace' },
              { from: 'pod_name', title: 'Pod' },
              { from: 'pod_uid', title: 'PodUID' },
              { from: 'by', title: 'KnownBy' },
              { from: 'instance', title: 'Host', links: hostLinks(ROW_HOST) },
              { from: 'cluster', title: 'Cluster' },
              {
                from: 'device',
                title: 'Device',
                links: [
                  DEVICE_ON_HOST,
                  toLivePageOfRow('Buffers of this device', `api/v1/buffers?device=${cell('Device')}`),
                  toLivePageOfRow('Incidents of this device', `api/v1/incidents?device=${cell('Device')}`),
                ],
              },
              { from: 'vendor', title: 'Vendor' },
              { from: 'name', title: 'Name' },
              { from: 'B', title: 'Private' },
              { from: 'C', title: 'Others' },
              { from: 'D', title: 'Bytes', unit: 'bytes' },
              { from: 'F', title: 'Incidents', steps: ZERO_IS_GOOD },
            ],
            hide: ['A', 'E'],
            empty: 'no exports, or nothing is traced',
          }),
        ],
      },
      {
        title: 'Policy violations',
        panels: [
          seriesPanel({
            title: 'Policy violations, by kind',
            description:
              'Calls that broke a rule for private exports, in each interval. They are counted in the kernel, so lost events do not change them.',
            width: 12,
            height: 8,
            queries: [
              {
                expr: grownEachBy('instance, kind', 'vfio_dmabuf_policy_violations_total', FLEET),
                legend: '{{instance}}: {{kind}}',
              },
            ],
            bars: true,
            stack: true,
            empty: 'no traced kernel has private exports',
            links: [
              toLivePage(
                'These incidents',
                '${__field.labels.instance}',
                'api/v1/incidents?kind=${__field.labels.kind}',
              ),
              runbook('VfioDmabufPolicyViolation'),
            ],
          }),
          seriesPanel({
            title: 'Open private-memory incidents, by kind',
            description:
              'Open incidents about private memory. A kind is absent if no host has its probes attached.',
            width: 12,
            height: 8,
            queries: [
              {
                expr: `sum by (instance, kind) (vfio_dmabuf_incidents{${FLEET},kind=~"${PRIVATE_KINDS}"})`,
                legend: '{{instance}}: {{kind}}',
              },
            ],
            empty: 'no host has the probes for incidents',
            links: [
              toLivePage(
                'These incidents',
                '${__field.labels.instance}',
                'api/v1/incidents?kind=${__field.labels.kind}',
              ),
            ],
          }),
        ],
      },
      {
        title: 'Private exports and their importers',
        panels: [
          tablePanel({
            title: 'Private exports that were rejected',
            description:
              'Rejected import calls of private buffers in the time range: the exporting device and VM, the importer, and the reason.',
            width: 16,
            height: 9,
            queries: [
              {
                expr: `${grownBy('cluster, instance, device, importer, stage, reason', REJECTIONS, PRIVATE)} > 0`,
              },
              {
                expr: `group by (cluster, instance, device, vm) (vfio_dmabuf_vm_info{${VM}} and on (cluster, instance, device) ${grownBy('cluster, instance, device', REJECTIONS, PRIVATE)} > 0)`,
              },
            ],
            columns: [
              {
                from: 'device',
                title: 'Device',
                links: [
                  DEVICE_ON_HOST,
                  toLivePageOfRow('Rejections of its buffers', `api/v1/rejections?device=${cell('Device')}`),
                ],
              },
              { from: 'vm', title: 'VM' },
              { from: 'importer', title: 'Importer' },
              { from: 'stage', title: 'Stage' },
              {
                from: 'reason',
                title: 'Reason',
                links: [
                  toLivePageOfRow(
                    'The rule of the kernel, and what to do',
                    `api/v1/reasons/${cell('Reason')}`,
                  ),
                  runbook('VfioDmabufImportRejected'),
                ],
              },
              { from: 'instance', title: 'Host', links: hostLinks(ROW_HOST) },
              { from: 'cluster', title: 'Cluster' },
              { from: 'A', title: 'Rejected', unit: 'short' },
            ],
            hide: ['B'],
            sortBy: { column: 'Rejected', desc: true },
            empty: 'no rejected private exports on traced hosts',
          }),
          seriesPanel({
            title: 'Private buffers attached by others than KVM',
            description:
              'Attachments of private buffers that the kernel accepted in each interval, without those of KVM, by exporting device.',
            width: 8,
            height: 9,
            queries: [
              {
                expr: grownEachBy(
                  'instance, device, importer',
                  'vfio_dmabuf_imports_total',
                  `${PRIVATE},stage="attach",importer!="kvm"`,
                ),
                legend: '{{instance}}: {{device}} to {{importer}}',
              },
            ],
            bars: true,
            stack: true,
            empty: 'only KVM attached private buffers, or no traced kernel has private exports',
            links: [runbook('VfioDmabufPrivateMemoryOffered')],
          }),
        ],
      },
      {
        title: 'Private data and binds',
        panels: [
          seriesPanel({
            title: 'Reads of private data',
            description:
              'Lookups of the VFIO data of a buffer by importers in each interval, and rejected ones. Absent if no kernel has a private dialect.',
            width: 8,
            height: 8,
            queries: [
              {
                expr: grownEachBy('importer', 'vfio_dmabuf_private_data_reads_total', FLEET),
                legend: '{{importer}}: read',
              },
              {
                expr: grownEachBy(
                  'importer, reason',
                  'vfio_dmabuf_private_data_read_rejections_total',
                  FLEET,
                ),
                legend: '{{importer}}: {{reason}}',
              },
            ],
            bars: true,
            empty: 'no traced kernel has private exports',
          }),
          seriesPanel({
            title: 'Binds of KVM',
            description:
              'Buffers that KVM bound to a VM in each interval, and rejected binds by device and reason.',
            width: 8,
            height: 8,
            queries: [
              {
                expr: grownEachBy('stage', 'vfio_dmabuf_imports_total', `${DEVICE},stage="bind"`),
                legend: 'bound',
              },
              {
                expr: grownEachBy('device, reason', REJECTIONS, `${DEVICE},stage="bind"`),
                legend: '{{device}} rejected: {{reason}}',
              },
            ],
            bars: true,
            empty: 'no binds, or the probe is not attached',
            links: [toDashboard('rejections', 'Rejected binds', { stage: 'bind' })],
          }),
          seriesPanel({
            title: 'Rejected binds',
            description:
              'Rejected binds in each interval. 0 only if the probe of binds is attached and the host is traced.',
            width: 8,
            height: 8,
            queries: [
              {
                expr: zeroWhereTraced(grownEach(REJECTIONS, `${DEVICE},stage="bind"`), FLEET, 'bind'),
                legend: 'rejected',
              },
            ],
            bars: true,
            empty: 'no host traces binds',
          }),
        ],
      },
      faultSection(),
      {
        title: 'Shared memory by VM',
        panels: [
          seriesPanel({
            title: 'Buffers, by VM',
            description: 'VFIO dma-bufs that exist, by the VM of their device.',
            width: 8,
            height: 8,
            queries: [
              { expr: `sum by (vm, kind) (${byVm('vfio_dmabuf_buffers')})`, legend: '{{vm}} ({{kind}})' },
            ],
            stack: true,
            empty: 'no exports of VMs, or nothing is traced',
          }),
          seriesPanel({
            title: 'Memory shared, by VM',
            description: 'Bytes of device memory in existing buffers, by the VM of their device.',
            width: 8,
            height: 8,
            unit: 'bytes',
            queries: [
              {
                expr: `sum by (vm, kind) (${byVm('vfio_dmabuf_buffer_bytes')})`,
                legend: '{{vm}} ({{kind}})',
              },
            ],
            stack: true,
            empty: 'no exports of VMs, or nothing is traced',
          }),
          seriesPanel({
            title: 'Exports, by privacy',
            description:
              'Exports that returned a descriptor in each interval. On a kernel without private exports each is undeclared.',
            width: 8,
            height: 8,
            queries: [
              {
                expr: grownEachBy('privacy', 'vfio_dmabuf_exports_total', DEVICE),
                legend: '{{privacy}}',
              },
            ],
            bars: true,
            stack: true,
            empty: 'no exports, or the probe is not attached',
          }),
        ],
      },
    ],
  });
}
