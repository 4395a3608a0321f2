import type { BufferGroup } from '../model/buffer-totals.ts';
import { deviceAddress } from '../model/naming.ts';
import type { Labels } from '../model/series-set.ts';
import type { TracerModel } from '../tracer/tracer.ts';
import { type FamilySpec, infos, sumByLabels } from './family.ts';

function* byGroup(
  model: TracerModel,
  value: (group: Readonly<BufferGroup>) => number,
): Generator<{ labels: Labels; value: number }> {
  for (const group of model.bufferTotals.groups()) {
    const state = group.revoked ? 'revoked' : 'live';
    yield {
      labels: { device: deviceAddress(group.device), privacy: group.privacy, state },
      value: value(group),
    };
  }
}

function* attachments(model: TracerModel): Generator<{ labels: Labels; value: number }> {
  for (const { device, privacy, importer, count } of model.bufferTotals.attachments())
    yield { labels: { device: deviceAddress(device), privacy, importer }, value: count };
}

function* lostMappings(model: TracerModel): Generator<{ labels: Labels; value: number }> {
  for (const [device, value] of model.bufferTotals.lostMappings())
    yield { labels: { device: deviceAddress(device) }, value };
}

function* vms(model: TracerModel): Generator<Labels> {
  for (const { device, vm } of model.vms()) {
    const { uuid, kind, by } = vm;
    const name = vm.name ?? uuid ?? 'unnamed';
    yield {
      device: deviceAddress(device),
      vm: name,
      uuid: uuid ?? '',
      kind,
      by,
      pod_uid: vm.pod_uid ?? '',
      pod_name: vm.pod_name ?? '',
      pod_namespace: vm.pod_namespace ?? '',
      container_name: vm.container_name ?? '',
    };
  }
}

/** Current state, from events and snapshots. It may be incomplete while buffer_state_exact is 0. */
export const STATE_FAMILIES: readonly FamilySpec[] = [
  {
    name: 'buffers',
    help: 'Buffers that exist (vfio_pci_core_feature_dma_buf to dma_buf_file_release).',
    details: 'state is live if importers can map the memory, and revoked if they cannot.',
    type: 'gauge',
    samples: (model, onFolded) =>
      sumByLabels(
        byGroup(model, ({ buffers }) => buffers),
        model.options.seriesLimit,
        onFolded,
      ),
  },
  {
    name: 'buffer_bytes',
    help: 'Bytes of device memory in buffers that exist (vfio_pci_core_feature_dma_buf).',
    type: 'gauge',
    samples: (model, onFolded) =>
      sumByLabels(
        byGroup(model, ({ bytes }) => Number(bytes)),
        model.options.seriesLimit,
        onFolded,
      ),
  },
  {
    name: 'attachments',
    help: 'Attachments of importers to buffers (vfio_pci_dma_buf_attach to dma_buf_detach).',
    details:
      'device is the exporting device, and privacy that of the buffer. importer is unknown if only a snapshot has counted the attachment.',
    type: 'gauge',
    samples: (model, onFolded) => sumByLabels(attachments(model), model.options.seriesLimit, onFolded),
  },
  {
    name: 'lost_mappings',
    help: 'iommufd mappings that a revocation removed and that were not remapped (vfio_pci_dma_buf_move, iopt_revoke_notify).',
    details:
      'The kernel never remaps them. Each new iommufd map of the buffer ends one lost mapping, and a release ends all of them. A detach ends none, because the memory is still not mapped. The number comes from events only: a mapping that was lost while nothing was traced, or whose event was lost, is missing, even if buffer_state_exact is 1.',
    type: 'gauge',
    present: (model) => model.wasAttached('revoke') && model.wasAttached('iommufd_map'),
    samples: (model, onFolded) => sumByLabels(lostMappings(model), model.options.seriesLimit, onFolded),
  },
  {
    name: 'device_info',
    help: 'Facts of a PCI device that exports or imports memory.',
    details:
      'From sysfs and pci.ids. Join it by instance and device, because hosts have the same PCI addresses. numa_node is -1 if there is none. class, vendor and name are empty if they are unknown. The series stays for metrics.keep-departed seconds after the device was removed.',
    type: 'gauge',
    samples: (model, onFolded) =>
      infos(
        model.devices().map((facts) => ({
          device: facts.device,
          vendor_id: facts.vendor_id,
          device_id: facts.device_id,
          class: facts.class ?? '',
          vendor: facts.vendor_name ?? '',
          name: facts.device_name ?? '',
          driver: facts.driver,
          iommu_group: facts.iommu_group,
          numa_node: String(facts.numa_node),
        })),
        model.options.seriesLimit,
        onFolded,
      ),
  },
  {
    name: 'vm_info',
    help: 'The VM that a device belongs to.',
    details:
      'Join it by instance and device, because hosts have the same PCI addresses. by is kvm (the process of kvm->userspace_pid of the VFIO device), owner (a known VMM exported the buffer) or holder (a known VMM has the VFIO device open). The name comes from the command line or the control group, and the names of pod and container from the files of kubelet and container runtime. A name that is not known is empty. kind is kvm->arch.vm_type, or what kvm_amd keeps of a SEV or SEV-ES guest of the default type. The series stays for metrics.keep-departed seconds after the process has ended and its buffers are released.',
    type: 'gauge',
    samples: (model, onFolded) => infos(vms(model), model.options.seriesLimit, onFolded),
  },
];
