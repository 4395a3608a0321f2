/* SPDX-License-Identifier: GPL-2.0-only */
/* Finds the device that an importer attaches with: a PCI function by its address, or one that is not PCI. */
#ifndef LAB_TARGET_H
#define LAB_TARGET_H

#include <linux/err.h>
#include <linux/pci.h>

/* Acquires a reference. -EINVAL for a malformed address, -ENODEV if there is no such device. */
static inline struct device *lab_target_get(const char *address, struct device *otherwise)
{
	unsigned int domain, bus, slot, function;
	struct pci_dev *pdev;

	if (!address[0])
		return get_device(otherwise);
	if (sscanf(address, "%x:%x:%x.%u", &domain, &bus, &slot, &function) != 4)
		return ERR_PTR(-EINVAL);
	pdev = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, function));
	return pdev ? &pdev->dev : ERR_PTR(-ENODEV);
}

#endif
