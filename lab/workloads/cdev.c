/* Opens a device by its own file, as a VMM does that uses iommufd. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kvm.h"
#include "text.h"
#include "uapi.h"
#include "vfio.h"

static int open_file(const char *address)
{
	char pattern[80], path[64];
	glob_t found;
	int fd;

	snprintf(pattern, sizeof(pattern), "/sys/bus/pci/devices/%s/vfio-dev/vfio*", address);
	if (glob(pattern, 0, NULL, &found))
		give_up(EXIT_ENVIRONMENT,
			"%s has no VFIO device; is it bound to vfio-pci, and is CONFIG_VFIO_DEVICE_CDEV set (dialect cdev)?",
			address);
	snprintf(path, sizeof(path), "/dev/vfio/devices%s", strrchr(found.gl_pathv[0], '/'));
	globfree(&found);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		give_up(EXIT_ENVIRONMENT, "%s does not exist; use a kernel with CONFIG_VFIO_DEVICE_CDEV (dialect cdev)",
			path);
	return fd;
}

static int attach(struct device *device, const struct iommufd *iommufd)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = iommufd->fd };
	struct vfio_device_attach_iommufd_pt table = { .argsz = sizeof(table), .pt_id = iommufd->ioas };

	/* Link the VM before the bind: VFIO copies the file's VM into the device when it binds the device. */
	if (device->vm_vfio_fd >= 0 && vm_link(device->vm_vfio_fd, device->fd))
		return -1;
	if (ioctl(device->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind) ||
	    ioctl(device->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &table))
		return -1;
	return device_prepare(device);
}

int device_open_cdev(struct device *device, const char *address, int vm_vfio_fd, const struct iommufd *iommufd)
{
	int cause;

	device_init(device, address);
	device->fd = open_file(address);
	if (device->fd < 0)
		return -1;
	if (vm_vfio_fd >= 0)
		device->vm_vfio_fd = dup(vm_vfio_fd);
	if (!attach(device, iommufd))
		return 0;
	cause = errno;
	device_close(device);
	errno = cause;
	return -1;
}
