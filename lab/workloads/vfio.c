#include "vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm.h"
#include "text.h"
#include "uapi.h"

static unsigned int iommu_group(const char *address)
{
	char link[PATH_MAX], target[PATH_MAX];
	ssize_t length;

	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", address);
	length = readlink(link, target, sizeof(target) - 1);
	if (length < 0)
		give_up(EXIT_ENVIRONMENT,
			"%s has no IOMMU group (%m at %s); is the address right and the IOMMU on (intel_iommu=on)?",
			address, link);
	target[length] = '\0';
	return (unsigned int)strtoul(strrchr(target, '/') + 1, NULL, 10);
}

static int open_group(const struct device *device)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/vfio/%u", device->group);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		give_up(EXIT_ENVIRONMENT,
			"%s does not exist; bind %s to vfio-pci first (driver_override, then drivers_probe)",
			path, device->address);
	return fd;
}

static int open_container(void)
{
	int fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		give_up(EXIT_ENVIRONMENT, "cannot open /dev/vfio/vfio (%m); load vfio-pci and vfio_iommu_type1");
	return fd;
}

int device_prepare(struct device *device)
{
	struct vfio_region_info config = {
		.argsz = sizeof(config),
		.index = VFIO_PCI_CONFIG_REGION_INDEX,
	};

	if (ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &config))
		return -1;
	device->config_offset = config.offset;
	/* A buffer that is exported while memory decode is off is born revoked. A VMM turns it on first. */
	return device_memory(device, true);
}

static int attach(struct device *device)
{
	if (ioctl(device->group_fd, VFIO_GROUP_SET_CONTAINER, &device->container_fd) ||
	    ioctl(device->container_fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -1;
	/* Link the VM before opening the device: VFIO copies the group's VM into the device when the device is opened. */
	if (device->vm_vfio_fd >= 0 && vm_link(device->vm_vfio_fd, device->group_fd))
		return -1;
	device->fd = ioctl(device->group_fd, VFIO_GROUP_GET_DEVICE_FD, device->address);
	return device->fd < 0 ? -1 : device_prepare(device);
}

void device_init(struct device *device, const char *address)
{
	memset(device, 0, sizeof(*device));
	snprintf(device->address, sizeof(device->address), "%s", address);
	device->fd = device->group_fd = device->container_fd = device->vm_vfio_fd = -1;
}

int device_open(struct device *device, const char *address, int vm_vfio_fd)
{
	int cause;

	device_init(device, address);
	device->group = iommu_group(address);
	device->group_fd = open_group(device);
	if (device->group_fd < 0)
		return -1;
	device->container_fd = open_container();
	/* The VM may be closed before the device, so the device has its own descriptor of the VM's VFIO device. */
	if (vm_vfio_fd >= 0)
		device->vm_vfio_fd = dup(vm_vfio_fd);
	if (!attach(device))
		return 0;
	cause = errno;
	device_close(device);
	errno = cause;
	return -1;
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void device_close(struct device *device)
{
	/* KVM has a reference on the file. Without the unlink the device or its group could not be opened again. */
	if (device->vm_vfio_fd >= 0 && device->group_fd < 0)
		vm_unlink(device->vm_vfio_fd, device->fd);
	close_one(&device->fd);
	if (device->vm_vfio_fd >= 0 && device->group_fd >= 0)
		vm_unlink(device->vm_vfio_fd, device->group_fd);
	close_one(&device->vm_vfio_fd);
	close_one(&device->group_fd);
	close_one(&device->container_fd);
}

int config_read(const struct device *device, unsigned int at, void *into, size_t bytes)
{
	ssize_t done = pread(device->fd, into, bytes, (off_t)(device->config_offset + at));

	if (done >= 0 && (size_t)done != bytes)
		errno = EIO;
	return done == (ssize_t)bytes ? 0 : -1;
}

int config_write(const struct device *device, unsigned int at, const void *from, size_t bytes)
{
	ssize_t done = pwrite(device->fd, from, bytes, (off_t)(device->config_offset + at));

	if (done >= 0 && (size_t)done != bytes)
		errno = EIO;
	return done == (ssize_t)bytes ? 0 : -1;
}

int device_memory(const struct device *device, bool on)
{
	uint16_t command;

	if (config_read(device, PCI_COMMAND, &command, sizeof(command)))
		return -1;
	if (on)
		command |= PCI_COMMAND_MEMORY;
	else
		command &= (uint16_t)~PCI_COMMAND_MEMORY;
	return config_write(device, PCI_COMMAND, &command, sizeof(command));
}

uint64_t region_size(const struct device *device, unsigned int region)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = region };

	return ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &info) ? 0 : info.size;
}

void *region_mmap(const struct device *device, unsigned int region, uint64_t offset, uint64_t bytes)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = region };

	if (ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &info))
		return MAP_FAILED;
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, device->fd, (off_t)(info.offset + offset));
}

int first_memory_region(const struct device *device)
{
	for (unsigned int bar = 0; bar < VFIO_PCI_ROM_REGION_INDEX; bar++) {
		struct vfio_region_info info = { .argsz = sizeof(info), .index = bar };

		if (!ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &info) &&
		    info.flags & VFIO_REGION_INFO_FLAG_MMAP)
			return (int)bar;
	}
	return -1;
}
