import type { Violation } from '../stream/codes.ts';
import {
  CORE,
  type Entry,
  EXPORTER_V1,
  KVM,
  PRIVATE,
  PRIVATE_BUFFER_REMEDY,
  PRIVATE_V1,
  rule,
} from './entry.ts';

const BIND = ['kvm_vfio_dmabuf_bind', KVM] as const;

/** What the rules of private exports forbid, and happened. Each is worth a page to somebody. */
export const VIOLATION_ENTRIES: Record<Exclude<Violation, 'none'>, Entry> = {
  foreign_vm: {
    what: 'KVM accepted a buffer of a device that belongs to another VM, or to none.',
    rules: [
      rule(
        'bind',
        null,
        BIND,
        'the VM of the buffer’s device is the VM that binds: not checked (AMD’s public kernel), or checked without effect',
        PRIVATE,
      ),
    ],
    remedy:
      'Stop the VM that bound it: one guest can reach the memory of another’s device. Then report it to who supplies the ' +
      'kernel: its bind does not look up the buffer, or ignores the answer.',
  },
  accepted_not_vfio: {
    what: 'KVM answered success to a bind of a buffer that VFIO did not export.',
    rules: [
      rule(
        'bind',
        null,
        BIND,
        'a failed vfio_dma_buf_get_data() ends the bind with its errno: the posted code leaves the return value unset, and ' +
          'AMD’s public kernel does not call it',
        PRIVATE,
      ),
    ],
    remedy:
      'The guest believes in a private slot that has no memory behind it. Stop the VM, correct the descriptor that its ' +
      'VMM passes, and update the kernel’s patches.',
  },
  private_without_vm: {
    what: 'A private export was made of a device that belongs to no VM.',
    rules: [
      rule(
        'export',
        null,
        ['vfio_pci_core_feature_dma_buf', EXPORTER_V1],
        'none: the export succeeds, no bind ever can',
        PRIVATE_V1,
      ),
    ],
    remedy:
      'The VMM has to add the device with KVM_DEV_VFIO_FILE_ADD before it exports; the buffer is of no use.',
  },
  private_offered: {
    what: 'A private export was offered to an importer that is not KVM.',
    rules: [
      rule(
        'attach',
        null,
        ['dma_buf_dynamic_attach', CORE],
        'none at this stage: whether the importer gets at the memory is decided at its map',
        PRIVATE_V1,
      ),
    ],
    remedy: PRIVATE_BUFFER_REMEDY,
  },
};
