import type { Cause } from '../stream/codes.ts';
import { type Entry, EXPORTER, rule } from './entry.ts';

const CONFIG = 'drivers/vfio/pci/vfio_pci_config.c';
const VFIO_CORE = 'drivers/vfio/pci/vfio_pci_core.c';
const REMAP =
  'Mappings of iommufd are gone for good after it (lost_mappings): the VMM has to make them again once the memory is back.';

/** Who took a device’s memory from its importers: each calls vfio_pci_dma_buf_move(), but for the close on kernels whose vfio_pci_dma_buf_cleanup() does it itself. */
export const CAUSE_ENTRIES: Record<Cause, Entry> = {
  unknown: {
    what: 'A caller that the probes do not know revoked or restored the memory.',
    rules: [rule('revoke', null, ['vfio_pci_dma_buf_move', EXPORTER], 'called from somewhere else')],
    remedy:
      'Report it with the kernel’s version: a cause is missing here. A snapshot that finds a change says so too.',
  },
  memory_enable: {
    what: 'The guest switched the device’s memory decode off or on (the memory bit of PCI_COMMAND).',
    rules: [
      rule(
        'revoke',
        null,
        ['vfio_basic_config_write', CONFIG],
        'a write to PCI_COMMAND changes its memory bit',
      ),
    ],
    remedy: `Normal while a guest boots or loads its driver. ${REMAP}`,
  },
  reset: {
    what: 'The VMM reset the device (VFIO_DEVICE_RESET).',
    rules: [rule('revoke', null, ['vfio_pci_core_ioctl', VFIO_CORE], 'around the reset, then restored')],
    remedy: `Normal at the start and reboot of a VM. ${REMAP}`,
  },
  flr: {
    what: 'The guest reset the device by a function level reset in its config space.',
    rules: [
      rule(
        'revoke',
        null,
        ['vfio_exp_config_write', CONFIG],
        'a write sets the FLR bit of the PCIe capability',
      ),
      rule('revoke', null, ['vfio_af_config_write', CONFIG], 'a write sets the FLR bit of the AF capability'),
    ],
    remedy: `Normal when the guest’s driver loads or recovers; often repeated it is a sign of a faulty device. ${REMAP}`,
  },
  hot_reset: {
    what: 'The VMM reset the device’s whole bus or slot (VFIO_DEVICE_PCI_HOT_RESET).',
    rules: [
      rule(
        'revoke',
        null,
        ['vfio_pci_dev_set_hot_reset', VFIO_CORE],
        'every device of the reset group loses its memory',
      ),
    ],
    remedy: `Normal at the start and reboot of a VM whose device has no function level reset. ${REMAP}`,
  },
  power_state: {
    what: 'The guest put the device to sleep, or woke it (the power state of its PM capability).',
    rules: [rule('revoke', null, ['vfio_pm_config_write', CONFIG], 'a write changes between D3hot and D0')],
    remedy: `Switch the guest driver’s power saving off where peers need the memory all the time. ${REMAP}`,
  },
  runtime_pm: {
    what: 'The VMM let the device enter low power, or wake from it (runtime power management).',
    rules: [
      rule('revoke', null, ['vfio_pci_runtime_pm_entry', VFIO_CORE], 'low power is entered'),
      rule(
        'revoke',
        null,
        ['vfio_pci_runtime_pm_exit', VFIO_CORE],
        'low power is left: the memory is restored',
      ),
    ],
    remedy: `Normal for an idle device; let the VMM keep it awake where peers need the memory. ${REMAP}`,
  },
  device_close: {
    what: 'The last descriptor of the device was closed: the VM has ended or closed the device.',
    rules: [
      rule(
        'revoke',
        null,
        ['vfio_pci_dma_buf_cleanup', EXPORTER],
        'called from vfio_pci_core_close_device()',
      ),
    ],
    remedy:
      'Normal when a VM ends. A buffer that still exists after it has another holder, listed by ' +
      '/api/v1/buffers.',
  },
};
