import type { Cause } from '../protocol/codes.ts';
import { type Entry, EXPORTER, rule } from './entry.ts';

const CONFIG = 'drivers/vfio/pci/vfio_pci_config.c';
const VFIO_CORE = 'drivers/vfio/pci/vfio_pci_core.c';
const REMAP =
  'It removes iommufd mappings permanently (lost_mappings): the VMM has to remap them once the memory is restored.';

/**
 * Why the memory of a device was revoked or restored. Each cause calls vfio_pci_dma_buf_move(), except device_close on kernels whose
 * vfio_pci_dma_buf_cleanup() revokes the memory itself.
 */
export const CAUSE_ENTRIES: Record<Cause, Entry> = {
  unknown: {
    what: 'A caller that the probes do not know revoked or restored the memory.',
    rules: [rule('revoke', null, ['vfio_pci_dma_buf_move', EXPORTER], 'another function calls it')],
    remedy:
      'Report it with the kernel version: a cause is missing here. A change that only a snapshot found also has this cause.',
  },
  memory_enable: {
    what: 'The guest disabled or enabled the memory decode of the device (the memory bit of PCI_COMMAND).',
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
    rules: [
      rule(
        'revoke',
        null,
        ['vfio_pci_core_ioctl', VFIO_CORE],
        'VFIO_DEVICE_RESET: the memory is revoked before the reset, then restored',
      ),
    ],
    remedy: `Normal at the start and reboot of a VM. ${REMAP}`,
  },
  flr: {
    what: 'The guest reset the device with a function level reset in its config space.',
    rules: [
      rule(
        'revoke',
        null,
        ['vfio_exp_config_write', CONFIG],
        'a write sets the FLR bit of the PCIe capability',
      ),
      rule('revoke', null, ['vfio_af_config_write', CONFIG], 'a write sets the FLR bit of the AF capability'),
    ],
    remedy: `Normal when the driver of the guest loads or recovers. Frequent resets are a sign of a faulty device. ${REMAP}`,
  },
  hot_reset: {
    what: 'The VMM reset the whole bus or slot of the device (VFIO_DEVICE_PCI_HOT_RESET).',
    rules: [
      rule(
        'revoke',
        null,
        ['vfio_pci_dev_set_hot_reset', VFIO_CORE],
        'VFIO_DEVICE_PCI_HOT_RESET: the memory of every device of the reset group is revoked',
      ),
    ],
    remedy: `Normal at the start and reboot of a VM whose device has no function level reset. ${REMAP}`,
  },
  power_state: {
    what: 'The guest put the device to sleep, or woke it (the power state of its PM capability).',
    rules: [rule('revoke', null, ['vfio_pm_config_write', CONFIG], 'a write changes between D3hot and D0')],
    remedy: `Disable power saving in the driver of the guest if peers always need the memory. ${REMAP}`,
  },
  runtime_pm: {
    what: 'The VMM let the device enter or leave low power (runtime power management).',
    rules: [
      rule('revoke', null, ['vfio_pci_runtime_pm_entry', VFIO_CORE], 'the device enters low power'),
      rule(
        'revoke',
        null,
        ['vfio_pci_runtime_pm_exit', VFIO_CORE],
        'the device leaves low power: the memory is restored',
      ),
    ],
    remedy: `Normal for an idle device. Let the VMM keep it awake if peers need the memory. ${REMAP}`,
  },
  device_close: {
    what: 'The last descriptor of the device was closed: the VM ended or closed the device.',
    rules: [
      rule('revoke', null, ['vfio_pci_dma_buf_cleanup', EXPORTER], 'vfio_pci_core_close_device() calls it'),
    ],
    remedy:
      'Normal when a VM ends. A buffer that still exists afterwards has another holder: /api/v1/buffers lists it.',
  },
};
