import type { Reason } from '../protocol/codes.ts';
import { CORE, type Entry, EXPORTER, KVM, PRIVATE, PRIVATE_V1, PRIVATE_V2, rule } from './entry.ts';

const BIND = ['kvm_vfio_dmabuf_bind', KVM] as const;
const GET_PFN = ['kvm_vfio_dmabuf_get_pfn', KVM] as const;
const KVM_MAIN = 'virt/kvm/kvm_main.c';
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
  no_attachment: {
    what: 'A guest touched a memory slot that has no buffer: its bind reported success without an attachment, or it was unbound.',
    rules: [
      rule(
        'get_pfn',
        'EFAULT',
        GET_PFN,
        'slot->dmabuf_attach is set (the kernel also warns). A VMM may take EFAULT for a request to convert the page between ' +
          'shared and private, and try again',
        PRIVATE,
      ),
    ],
    remedy:
      'A defect of the kernel, see accepted_not_vfio: the posted bind can report success after a failed lookup. Stop the VM, ' +
      'and update the patches of the kernel. `journalctl -k` has the warning.',
    user_space: ['KVM_EXIT_MEMORY_FAULT'],
  },
  get_pfn_unsupported: {
    what: 'A guest touched a slot whose buffer has an exporter that cannot resolve faults.',
    rules: [
      rule(
        'get_pfn',
        'EIO',
        ['dma_buf_get_pfn_unlocked', CORE],
        'the exporter has a get_pfn callback. KVM turns EINVAL and EOPNOTSUPP into EIO',
        PRIVATE,
      ),
    ],
    remedy:
      'VFIO of the posted patches resolves faults, so another exporter made the buffer (see accepted_not_vfio), or the kernel ' +
      'has only a part of the patches. The VMM has to bind a buffer of VFIO_DEVICE_FEATURE_DMA_BUF.',
    user_space: ['KVM_EXIT_MEMORY_FAULT'],
  },
  slot_flags: {
    what: 'KVM rejected the memory slot of a buffer because of its flags, its offset or the kind of the VM, before the bind.',
    rules: [
      rule(
        'bind',
        'EINVAL',
        ['check_memory_region_flags', KVM_MAIN],
        'KVM_MEM_VFIO_DMABUF is the only flag: not together with KVM_MEM_GUEST_MEMFD, KVM_MEM_LOG_DIRTY_PAGES or ' +
          'KVM_MEM_READONLY; and the VM has private memory (kvm->arch.has_private_mem)',
        PRIVATE,
      ),
      rule('bind', 'EINVAL', ['kvm_set_memory_region', KVM_MAIN], 'guest_memfd_offset is 0', PRIVATE),
    ],
    remedy:
      'The VMM has to create the slot with KVM_MEM_VFIO_DMABUF alone and offset 0, in a VM of a kind with private memory. ' +
      'Dirty logging (live migration) is not possible for such a slot.',
    user_space: ['KVM_SET_USER_MEMORY_REGION2'],
  },
  rolled_back: {
    what: 'KVM bound the buffer, then rejected the memory slot and unbound the buffer in the same call.',
    rules: [
      rule(
        'bind',
        null,
        ['kvm_set_memory_region', KVM_MAIN],
        'kvm_set_memslot() inserts the slot: the guest can address it, and memory for it can be allocated',
        PRIVATE,
      ),
    ],
    remedy:
      'Look at the errno of the event. EINVAL: the address of the slot is beyond what the guest can address. ENOMEM: check the ' +
      'free memory of the host. The guest does not have the BAR.',
    user_space: ['KVM_SET_USER_MEMORY_REGION2'],
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
