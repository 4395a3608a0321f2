/*
 * Kernel interfaces that the distribution's headers may not have yet. They have
 * the layout of the kernel's ABI and names with the prefix lab_, so that the
 * workloads build on any distribution.
 */
#ifndef LAB_UAPI_H
#define LAB_UAPI_H

#include <linux/dma-heap.h>
#include <linux/kvm.h>
#include <linux/pci_regs.h>
#include <linux/types.h>
#include <linux/udmabuf.h>
#include <linux/vfio.h>
#include <stddef.h>
#include <sys/ioctl.h>

/* VFIO_DEVICE_FEATURE_DMA_BUF, Linux 6.19. */
#define LAB_FEATURE_DMA_BUF 11

struct lab_dma_range {
	__u64 offset;
	__u64 length;
};

struct lab_feature_dma_buf {
	__u32 region_index;
	__u32 open_flags;
	__u32 flags;
	__u32 nr_ranges;
	struct lab_dma_range ranges[];
};

/* iommufd. Its ioctl numbers are plain _IO; each struct contains its size. */
struct lab_ioas_alloc {
	__u32 size;
	__u32 flags;
	__u32 ioas_id;
};

struct lab_ioas_map {
	__u32 size;
	__u32 flags;
	__u32 ioas_id;
	__u32 reserved;
	__u64 user_va;
	__u64 length;
	__u64 iova;
};

struct lab_ioas_map_file {
	__u32 size;
	__u32 flags;
	__u32 ioas_id;
	__s32 fd;
	__u64 start;
	__u64 length;
	__u64 iova;
};

struct lab_ioas_copy {
	__u32 size;
	__u32 flags;
	__u32 dst_ioas_id;
	__u32 src_ioas_id;
	__u64 length;
	__u64 dst_iova;
	__u64 src_iova;
};

struct lab_vfio_ioas {
	__u32 size;
	__u32 ioas_id;
	__u16 op;
	__u16 reserved;
};

struct lab_ioas_unmap {
	__u32 size;
	__u32 ioas_id;
	__u64 iova;
	__u64 length;
};

#define LAB_IOAS_ALLOC _IO(';', 0x81)
#define LAB_IOAS_COPY _IO(';', 0x83)
#define LAB_IOAS_MAP _IO(';', 0x85)
#define LAB_IOAS_UNMAP _IO(';', 0x86)
#define LAB_VFIO_IOAS _IO(';', 0x88)
#define LAB_VFIO_IOAS_SET 1u
#define LAB_IOAS_MAP_FILE _IO(';', 0x8f)
#define LAB_IOAS_MAP_FIXED_IOVA 1u
#define LAB_IOAS_MAP_WRITEABLE 2u
#define LAB_IOAS_MAP_READABLE 4u

/* DRM: the driver's name, and PRIME. */
struct lab_drm_version {
	int major, minor, patch;
	size_t name_length;
	char *name;
	size_t date_length;
	char *date;
	size_t description_length;
	char *description;
};

struct lab_drm_prime {
	__u32 handle;
	__u32 flags;
	__s32 fd;
};

#define LAB_DRM_VERSION _IOWR('d', 0x00, struct lab_drm_version)
#define LAB_DRM_PRIME_FD_TO_HANDLE _IOWR('d', 0x2e, struct lab_drm_prime)

#endif
