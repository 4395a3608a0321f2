import type { BufferState } from '../model/buffer-state.ts';
import type { TracerModel } from '../model/model.ts';
import { deviceAddress } from '../model/naming.ts';
import { vmRef } from '../model/processes.ts';
import type { Labels } from '../model/series-set.ts';
import { type FamilySpec, infos, sumByLabels } from './family.ts';

function* eachBuffer(
  model: TracerModel,
  value: (buffer: BufferState) => number,
): Generator<{ labels: Labels; value: number }> {
  for (const buffer of model.aliveStates()) {
    const state = buffer.revoked ? 'revoked' : 'live';
    yield {
      labels: { device: deviceAddress(buffer.device), privacy: buffer.privacy, state },
      value: value(buffer),
    };
  }
}

function* holds(model: TracerModel): Generator<{ labels: Labels; value: number }> {
  for (const buffer of model.aliveStates()) {
    let unnamed = buffer.attachmentCount;
    for (const { importer, count } of buffer.holds.values()) {
      unnamed -= count;
      yield { labels: { importer }, value: count };
    }
    if (unnamed > 0) yield { labels: { importer: 'unknown' }, value: unnamed };
  }
}

function* lostMappings(model: TracerModel): Generator<{ labels: Labels; value: number }> {
  for (const buffer of model.aliveStates()) {
    yield { labels: { device: deviceAddress(buffer.device) }, value: buffer.lostMappings };
  }
}

function* vms(model: TracerModel): Generator<Labels> {
  for (const buffer of model.aliveStates()) {
    const vm = vmRef(buffer.vm);
    if (vm === null) continue;
    const name = vm.name ?? vm.uuid ?? 'unnamed';
    yield { device: deviceAddress(buffer.device), vm: name, uuid: vm.uuid ?? '', kind: vm.kind };
  }
}

/** What is there now, from events and snapshots; picture_exact tells whether events are missing in it. */
export const STATE_FAMILIES: readonly FamilySpec[] = [
  {
    name: 'buffers',
    help:
      'VFIO dma-bufs that exist (vfio_pci_core_feature_dma_buf to dma_buf_file_release): live ones may be mapped, ' +
      'revoked ones may not.',
    type: 'gauge',
    samples: (model) =>
      sumByLabels(
        eachBuffer(model, () => 1),
        model.options.seriesLimit,
      ),
  },
  {
    name: 'buffer_bytes',
    help: 'Bytes of device memory in the VFIO dma-bufs that exist (vfio_pci_core_feature_dma_buf).',
    type: 'gauge',
    samples: (model) =>
      sumByLabels(
        eachBuffer(model, ({ bytes }) => bytes),
        model.options.seriesLimit,
      ),
  },
  {
    name: 'attachments',
    help:
      'Attachments of importers to VFIO dma-bufs (vfio_pci_dma_buf_attach to dma_buf_detach); unknown are those that ' +
      'only a snapshot has counted.',
    type: 'gauge',
    samples: (model) => sumByLabels(holds(model), model.options.seriesLimit),
  },
  {
    name: 'lost_mappings',
    help:
      'iommufd mappings that a revocation made dead (vfio_pci_dma_buf_move, iopt_revoke_notify) and that nobody has ' +
      'made again; the kernel never does. Each new iommufd map of the buffer closes one, its release all; a detach ' +
      'closes none, for what is unmapped is still not mapped.',
    type: 'gauge',
    present: (model) => model.wasAttached('revoke') && model.wasAttached('iommufd_map'),
    samples: (model) => sumByLabels(lostMappings(model), model.options.seriesLimit),
  },
  {
    name: 'device_info',
    help: 'Facts of a PCI device that exports memory, from sysfs; numa_node -1 is none.',
    type: 'gauge',
    samples: (model) =>
      infos(
        model.devices().map((facts) => ({
          device: facts.device,
          vendor_id: facts.vendor_id,
          device_id: facts.device_id,
          driver: facts.driver,
          iommu_group: facts.iommu_group,
          numa_node: String(facts.numa_node),
        })),
        model.options.seriesLimit,
      ),
  },
  {
    name: 'vm_info',
    help:
      'The VM that a device with existing buffers belongs to (kvm->userspace_pid of the VFIO device), named by its ' +
      'command line; kind is kvm->arch.vm_type.',
    type: 'gauge',
    samples: (model) => infos(vms(model), model.options.seriesLimit),
  },
];
