import type { Reason } from '../protocol/codes.ts';
import { type Entry, EXPORTER, KVM, PRIVATE, PRIVATE_V1, PRIVATE_V2, rule } from './entry.ts';

const BIND = ['kvm_vfio_dmabuf_bind', KVM] as const;
const GET_DATA = ['vfio_dma_buf_get_data', EXPORTER] as const;

/** Why KVM rejected a buffer for private memory, on kernels with the posted patches. */
export const PRIVATE_REASONS = {
  not_vfio: {
    what: 'The kernel looked up the VFIO data of a buffer that VFIO did not export.',
    rules: [
      rule('private_read', 'EINVAL', GET_DATA, 'dmabuf->ops are VFIO’s own', PRIVATE),
      rule(
        'bind',
        null,
        BIND,
        'vfio_dma_buf_get_data() returns data; if it fails, the posted code returns an uninitialized errno',
        PRIVATE,
      ),
      rule('bind', 'EINVAL', BIND, 'the buffer is one that VFIO exported', PRIVATE),
    ],
    remedy:
      'Pass KVM the descriptor that VFIO_DEVICE_FEATURE_DMA_BUF returned: private memory slots accept no other. The posted ' +
      'bind can return success in spite of this, see accepted_not_vfio.',
  },
  not_private: {
    what: 'KVM got a buffer of a device that is not bound as private.',
    rules: [rule('bind', 'EINVAL', BIND, 'the buffer’s is_private is set', PRIVATE_V1)],
    remedy:
      'The VMM has to bind the device with VFIO_DEVICE_BIND_IOMMUFD_PRIVATE before the export, because the export copies the ' +
      'flag into the buffer.',
  },
  vm_mismatch: {
    what: 'KVM got a buffer of a device that belongs to another VM.',
    rules: [rule('bind', 'EINVAL', BIND, 'the VM of the buffer’s device is the VM that binds', PRIVATE)],
    remedy:
      'The event names both VMs: find out which of them should own the device. A private buffer must never leave its ' +
      'VM, so treat it as an incident unless it is a configuration error.',
  },
  no_vm: {
    what: 'KVM got a buffer of a device that belongs to no VM yet.',
    rules: [
      rule(
        'bind',
        'EINVAL',
        BIND,
        'the device was added to the VM’s KVM VFIO device before the export',
        PRIVATE,
      ),
    ],
    remedy: 'The VMM has to add the device with KVM_DEV_VFIO_FILE_ADD before the export.',
  },
  size_mismatch: {
    what: 'The memory slot and the buffer differ in size.',
    rules: [rule('bind', 'EINVAL', BIND, 'npages of the slot times the page size is dmabuf->size', PRIVATE)],
    remedy:
      'Typical of a BAR that contains an MSI-X table: the VMM splits the BAR into slots but exports the whole BAR. Export ' +
      'each part separately, or move the table (QEMU: x-msix-relocation). The event has both sizes.',
  },
  private_not_mappable: {
    what: 'An importer wanted to map a buffer of a private dialect for DMA, but has no peer-to-peer path to the device.',
    rules: [
      rule(
        'map',
        'EPERM',
        ['vfio_pci_dma_buf_map', EXPORTER],
        'attachment->peer2peer is set: the importer attached with allow_peer2peer, and the attach of the exporter did not clear ' +
          'it. The attach clears it, and succeeds, if pci_p2pdma_distance_many() finds no path between the two devices',
        PRIVATE_V2,
      ),
    ],
    remedy:
      'As for topology: put both devices below one PCIe switch without ACS redirect, or use a host whose bridge the kernel ' +
      'allows (`journalctl -k | grep -i peer-to-peer` names the pair). An importer that attaches statically, or is not a PCI ' +
      'device, cannot map at all.',
  },
} satisfies Partial<Record<Reason, Entry>>;
