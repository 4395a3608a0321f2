/* A PCI device in its VFIO group, and the operations of a VMM on it. */
#ifndef LAB_VFIO_H
#define LAB_VFIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "iommufd.h"

struct device {
	char address[16];       /* 0000:00:05.0 */
	unsigned int group;     /* IOMMU group number */
	int group_fd;           /* -1 for a device that was opened by its own file */
	int container_fd;       /* the same */
	int fd;                 /* -1 when closed */
	int vm_vfio_fd;         /* a duplicate; -1 without a VM */
	uint64_t config_offset; /* offset of PCI config space in fd */
};

/*
 * Opens the group, a type1 container and the device, links the VM (vm_vfio_fd
 * may be -1), and turns memory decode on. Returns 0, or -1 and errno.
 */
int device_open(struct device *device, const char *address, int vm_vfio_fd);
void device_close(struct device *device);
/* cdev.c: the same by the device's file (VFIO cdev), with this iommufd instead of a container. */
int device_open_cdev(struct device *device, const char *address, int vm_vfio_fd, const struct iommufd *iommufd);
/* For the functions that open: no file is open yet; the device is open, so its memory decode is turned on. */
void device_init(struct device *device, const char *address);
int device_prepare(struct device *device);

/* Each returns 0, or -1 and errno. */
int config_read(const struct device *device, unsigned int at, void *into, size_t bytes);
int config_write(const struct device *device, unsigned int at, const void *from, size_t bytes);
int device_memory(const struct device *device, bool on);
uint64_t region_size(const struct device *device, unsigned int region);
/* Returns the memory, or MAP_FAILED and errno. */
void *region_mmap(const struct device *device, unsigned int region, uint64_t offset, uint64_t bytes);
/* Returns the first BAR of whole pages that can be mapped, or -1. */
int first_memory_region(const struct device *device);

/* pci.c: operations that revoke a device's memory. */
int device_reset(const struct device *device);
int device_hot_reset(const struct device *device, const struct device *all, unsigned int count);
int device_function_level_reset(const struct device *device);
int device_power(const struct device *device, unsigned int state);

#endif
