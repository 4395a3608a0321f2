import type { BufferGroup } from '../model/buffer-totals.ts';
import type { TracerModel } from '../model/model.ts';
import { deviceAddress } from '../model/naming.ts';
import type { Labels } from '../model/series-set.ts';
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
    };
  }
}

/** What is there now, from events and snapshots; buffer_state_exact tells whether events are missing in it. */
export const STATE_FAMILIES: readonly FamilySpec[] = [
  {
    name: 'buffers',
    help:
      'VFIO dma-bufs that exist (vfio_pci_core_feature_dma_buf to dma_buf_file_release): live ones may be mapped, ' +
      'revoked ones may not.',
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
    help: 'Bytes of device memory in the VFIO dma-bufs that exist (vfio_pci_core_feature_dma_buf).',
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
    help:
      'Attachments of importers to VFIO dma-bufs (vfio_pci_dma_buf_attach to dma_buf_detach). device is the exporting device, and ' +
      'privacy that of the buffer. importer is unknown for attachments that only a snapshot has counted.',
    type: 'gauge',
    samples: (model, onFolded) => sumByLabels(attachments(model), model.options.seriesLimit, onFolded),
  },
  {
    name: 'lost_mappings',
    help:
      'iommufd mappings that a revocation made dead (vfio_pci_dma_buf_move, iopt_revoke_notify) and that nobody has ' +
      'made again; the kernel never does. Each new iommufd map of the buffer closes one, its release all; a detach ' +
      'closes none, for what is unmapped is still not mapped. It is made of events alone: mappings that died while nothing was ' +
      'traced, or whose events were lost, are not in it, whatever buffer_state_exact says.',
    type: 'gauge',
    present: (model) => model.wasAttached('revoke') && model.wasAttached('iommufd_map'),
    samples: (model, onFolded) => sumByLabels(lostMappings(model), model.options.seriesLimit, onFolded),
  },
  {
    name: 'device_info',
    help:
      'Facts of a PCI device that exports or imports memory, from sysfs and pci.ids: one series for each device, to be ' +
      'joined by its label device. numa_node -1 is none; class, vendor and name are empty where they are not known. It goes ' +
      'metrics.keep-departed seconds after the device has left.',
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
    help:
      'The VM that a device belongs to: one series for each device that has exported, to be joined by its label device. by ' +
      'is kvm (the process of kvm->userspace_pid of the VFIO device), or a known VMM that is the owner (it exported) or the ' +
      'holder (it has the VFIO device open). Its name is of the command line or the control group; kind is ' +
      'kvm->arch.vm_type, or what kvm_amd keeps of a SEV or SEV-ES guest made as a default VM. It goes ' +
      'metrics.keep-departed seconds after the process has ended and its buffers are gone.',
    type: 'gauge',
    samples: (model, onFolded) => infos(vms(model), model.options.seriesLimit, onFolded),
  },
];
