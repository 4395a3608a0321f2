import { PRIVATE_BUFFER_REMEDY } from '../incidents/rules/private-offered.ts';
import type { Violation } from '../protocol/codes.ts';
import { CORE, type Entry, EXPORTER_V1, KVM, PRIVATE, PRIVATE_V1, rule } from './entry.ts';

const BIND = ['kvm_vfio_dmabuf_bind', KVM] as const;

/** Violations of the rules for private exports. Each should alert an operator. */
export const VIOLATION_ENTRIES: Record<Exclude<Violation, 'none'>, Entry> = {
  foreign_vm: {
    what: 'KVM accepted a buffer of a device that belongs to another VM, or to none.',
    rules: [
      rule(
        'bind',
        null,
        BIND,
        'the VM of the buffer’s device is the VM that binds. The public kernel of AMD does not check it, or the check had no effect',
        PRIVATE,
      ),
    ],
    remedy:
      'Stop the VM that bound it: one guest can access the memory of the device of another. Then report it to the supplier of ' +
      'the kernel: its bind does not look up the buffer, or ignores the result.',
  },
  accepted_not_vfio: {
    what: 'KVM returned success for a bind of a buffer that VFIO did not export.',
    rules: [
      rule(
        'bind',
        null,
        BIND,
        'a failed vfio_dma_buf_get_data() ends the bind with its errno. The posted code leaves the return value unset, and the ' +
          'public kernel of AMD does not call the function',
        PRIVATE,
      ),
    ],
    remedy:
      'The guest has a private slot without memory behind it. Stop the VM, correct the descriptor that its VMM passes, and ' +
      'update the patches of the kernel.',
  },
  private_without_vm: {
    what: 'A device that belongs to no VM made a private export.',
    rules: [
      rule(
        'export',
        null,
        ['vfio_pci_core_feature_dma_buf', EXPORTER_V1],
        'nothing: the export succeeds, but no bind can succeed',
        PRIVATE_V1,
      ),
    ],
    remedy:
      'The VMM has to add the device with KVM_DEV_VFIO_FILE_ADD before the export. This buffer cannot be used.',
  },
  private_offered: {
    what: 'An importer other than KVM tried to attach a private buffer.',
    rules: [
      rule(
        'attach',
        null,
        ['dma_buf_dynamic_attach', CORE],
        'nothing at this stage: its map decides whether the importer gets the memory',
        PRIVATE_V1,
      ),
    ],
    remedy: PRIVATE_BUFFER_REMEDY,
  },
};
