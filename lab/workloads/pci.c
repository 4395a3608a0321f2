/* Operations that revoke a device's memory: resets and power states. */
#include <errno.h>
#include <stdlib.h>

#include "uapi.h"
#include "vfio.h"

/* Offset of a capability in config space; 0 with errno EOPNOTSUPP when absent. */
static uint8_t capability(const struct device *device, uint8_t wanted)
{
	uint8_t at = 0, id;

	if (config_read(device, PCI_CAPABILITY_LIST, &at, 1))
		return 0;
	/* The limit ends the loop if the list is a ring. */
	for (int seen = 0; at && seen < 48; seen++) {
		at &= 0xfc;
		if (config_read(device, at, &id, 1))
			return 0;
		if (id == wanted)
			return at;
		if (config_read(device, at + 1u, &at, 1))
			return 0;
	}
	errno = EOPNOTSUPP;
	return 0;
}

int device_reset(const struct device *device)
{
	return ioctl(device->fd, VFIO_DEVICE_RESET);
}

int device_hot_reset(const struct device *device, const struct device *all, unsigned int count)
{
	enum { MOST = 64 };
	struct vfio_pci_hot_reset_info *info;
	struct vfio_pci_hot_reset *reset;
	int ret;

	info = calloc(1, sizeof(*info) + MOST * sizeof(info->devices[0]));
	reset = calloc(1, sizeof(*reset) + MOST * sizeof(reset->group_fds[0]));
	if (!info || !reset)
		abort();
	info->argsz = sizeof(*info) + MOST * sizeof(info->devices[0]);
	ret = ioctl(device->fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info);
	if (ret)
		goto out;

	/* VFIO requires the descriptor of each affected group as proof of ownership. */
	for (unsigned int i = 0; i < count; i++) {
		bool affected = false;

		for (uint32_t k = 0; k < info->count; k++)
			affected = affected || info->devices[k].group_id == all[i].group;
		if (affected && all[i].fd >= 0 && reset->count < MOST)
			reset->group_fds[reset->count++] = all[i].group_fd;
	}
	reset->argsz = (uint32_t)(sizeof(*reset) + reset->count * sizeof(reset->group_fds[0]));
	ret = ioctl(device->fd, VFIO_DEVICE_PCI_HOT_RESET, reset);
out:
	free(info);
	free(reset);
	return ret;
}

/* Writes the register that a guest driver would write, so VFIO handles a config write. */
int device_function_level_reset(const struct device *device)
{
	uint8_t at = capability(device, PCI_CAP_ID_EXP);
	uint32_t can;
	uint16_t control;
	uint8_t byte;

	if (at) {
		if (config_read(device, at + PCI_EXP_DEVCAP, &can, sizeof(can)) ||
		    config_read(device, at + PCI_EXP_DEVCTL, &control, sizeof(control)))
			return -1;
		if (can & PCI_EXP_DEVCAP_FLR) {
			control |= PCI_EXP_DEVCTL_BCR_FLR;
			return config_write(device, at + PCI_EXP_DEVCTL, &control, sizeof(control));
		}
	}
	at = capability(device, PCI_CAP_ID_AF);
	if (!at)
		return -1;
	if (config_read(device, at + PCI_AF_CAP, &byte, 1))
		return -1;
	if (!(byte & PCI_AF_CAP_FLR)) {
		errno = EOPNOTSUPP;
		return -1;
	}
	byte = PCI_AF_CTRL_FLR;
	return config_write(device, at + PCI_AF_CTRL, &byte, 1);
}

int device_power(const struct device *device, unsigned int state)
{
	uint8_t at = capability(device, PCI_CAP_ID_PM);
	uint16_t control;

	if (!at || config_read(device, at + PCI_PM_CTRL, &control, sizeof(control)))
		return -1;
	control = (uint16_t)((control & ~(unsigned int)PCI_PM_CTRL_STATE_MASK) | state);
	return config_write(device, at + PCI_PM_CTRL, &control, sizeof(control));
}
