// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes BARs unusable for VFIO. Each parameter takes effect at the next open of
 * the device; an empty value undoes it.
 *
 *   claimed=0000:00:08.0/2    another driver has claimed the BAR
 *   unmappable=0000:00:08.0   the device is marked with non_mappable_bars
 */
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/string.h>

static struct pci_dev *claimed_device;
static int claimed_bar;
static struct pci_dev *unmappable_device;

static struct pci_dev *device_at(const char *text, int *bar)
{
	unsigned int domain, bus, slot, function;
	int found = sscanf(text, "%x:%x:%x.%x/%d", &domain, &bus, &slot,
			   &function, bar);

	if (found < 4)
		return NULL;
	return pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, function));
}

static void release_claim(void)
{
	if (!claimed_device)
		return;
	pci_release_region(claimed_device, claimed_bar);
	pci_dev_put(claimed_device);
	claimed_device = NULL;
}

static int set_claimed(const char *value, const struct kernel_param *parameter)
{
	struct pci_dev *device;
	int bar = -1;
	int ret;

	release_claim();
	if (sysfs_streq(value, ""))
		return 0;
	device = device_at(value, &bar);
	if (!device)
		return -ENODEV;
	if (bar < 0 || bar >= PCI_STD_NUM_BARS) {
		pci_dev_put(device);
		return -EINVAL;
	}
	ret = pci_request_region(device, bar, "lab_bars");
	if (ret) {
		pci_dev_put(device);
		return ret;
	}
	claimed_device = device;
	claimed_bar = bar;
	return 0;
}

static void unmark(void)
{
	if (!unmappable_device)
		return;
	unmappable_device->non_mappable_bars = 0;
	pci_dev_put(unmappable_device);
	unmappable_device = NULL;
}

static int set_unmappable(const char *value, const struct kernel_param *parameter)
{
	struct pci_dev *device;
	int bar;

	unmark();
	if (sysfs_streq(value, ""))
		return 0;
	device = device_at(value, &bar);
	if (!device)
		return -ENODEV;
	device->non_mappable_bars = 1;
	unmappable_device = device;
	return 0;
}

/* The kernel calls the setters one at a time (kernel_param_lock). */
static const struct kernel_param_ops claimed_ops = { .set = set_claimed };
static const struct kernel_param_ops unmappable_ops = { .set = set_unmappable };
module_param_cb(claimed, &claimed_ops, NULL, 0200);
module_param_cb(unmappable, &unmappable_ops, NULL, 0200);

static int __init lab_bars_init(void)
{
	return 0;
}

static void __exit lab_bars_exit(void)
{
	release_claim();
	unmark();
}

module_init(lab_bars_init);
module_exit(lab_bars_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Lab: BARs that VFIO cannot use");
