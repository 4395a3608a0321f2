// SPDX-License-Identifier: GPL-2.0-only
/*
 * peer_to_peer=1 makes the host bridge of domain 0 look like one that the
 * kernel allows for peer-to-peer DMA (pci_p2pdma_whitelist): Intel Skylake-E.
 * QEMU emulates none of them. 0 undoes it. The kernel keeps its decision for a
 * pair of devices until the exporting device is unbound from its driver.
 */
#include <linux/module.h>
#include <linux/pci.h>

#define ALLOWED_VENDOR PCI_VENDOR_ID_INTEL
#define ALLOWED_DEVICE 0x2030

static struct pci_dev *bridge;
static unsigned short real_vendor, real_device;

static void undo(void)
{
	if (!bridge)
		return;
	bridge->vendor = real_vendor;
	bridge->device = real_device;
	pci_dev_put(bridge);
	bridge = NULL;
}

static int set_peer_to_peer(const char *value, const struct kernel_param *parameter)
{
	bool allow;
	int ret = kstrtobool(value, &allow);

	if (ret)
		return ret;
	undo();
	if (!allow)
		return 0;
	bridge = pci_get_domain_bus_and_slot(0, 0, PCI_DEVFN(0, 0));
	if (!bridge)
		return -ENODEV;
	real_vendor = bridge->vendor;
	real_device = bridge->device;
	bridge->vendor = ALLOWED_VENDOR;
	bridge->device = ALLOWED_DEVICE;
	return 0;
}

/* The kernel calls the setter one at a time (kernel_param_lock). */
static const struct kernel_param_ops peer_to_peer_ops = { .set = set_peer_to_peer };
module_param_cb(peer_to_peer, &peer_to_peer_ops, NULL, 0200);

static int __init lab_host_bridge_init(void)
{
	return 0;
}

static void __exit lab_host_bridge_exit(void)
{
	undo();
}

module_init(lab_host_bridge_init);
module_exit(lab_host_bridge_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Lab: a host bridge that allows peer-to-peer DMA");
