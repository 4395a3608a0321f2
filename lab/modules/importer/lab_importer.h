/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * ioctls of /dev/lab-importer and /dev/lab-rdma-importer, shared by the modules
 * and the workloads. ATTACH and RDMA_GET return an id (0 or more) or -errno, and
 * the others take that id. Closing the file releases everything that is left.
 */
#ifndef LAB_IMPORTER_H
#define LAB_IMPORTER_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define LAB_IMPORTER_NODE "lab-importer"
#define LAB_RDMA_IMPORTER_NODE "lab-rdma-importer"

/* Flags of ATTACH. Without DYNAMIC the importer calls dma_buf_attach(). */
#define LAB_IMPORTER_DYNAMIC 1u
#define LAB_IMPORTER_PEER2PEER 2u
#define LAB_IMPORTER_INVALIDATE 4u

struct lab_importer_attach {
	__s32 dmabuf_fd;
	__u32 flags;
	char device[16];	/* PCI address; empty: a device that is not PCI */
	__u32 hold_ms;		/* how long a mapping is kept after an invalidate */
	__u32 reserved;		/* must be 0 */
};

/* Which ib_umem function makes the memory region. */
#define LAB_RDMA_DYNAMIC 0u
#define LAB_RDMA_PINNED 1u
#define LAB_RDMA_REVOCABLE 2u

struct lab_rdma_get {
	__s32 dmabuf_fd;
	__u32 kind;
	char device[16];
	__u64 offset;
	__u64 length;
};

#define LAB_IMPORTER_ATTACH _IOW('M', 0x01, struct lab_importer_attach)
#define LAB_IMPORTER_PIN _IOW('M', 0x02, __u32)
#define LAB_IMPORTER_UNPIN _IOW('M', 0x03, __u32)
#define LAB_IMPORTER_MAP _IOW('M', 0x04, __u32)
#define LAB_IMPORTER_UNMAP _IOW('M', 0x05, __u32)
#define LAB_IMPORTER_VMAP _IOW('M', 0x06, __s32)	/* takes a descriptor, needs no attachment */
#define LAB_IMPORTER_DETACH _IOW('M', 0x07, __u32)
#define LAB_RDMA_GET _IOW('M', 0x11, struct lab_rdma_get)
#define LAB_RDMA_MAP _IOW('M', 0x12, __u32)
#define LAB_RDMA_RELEASE _IOW('M', 0x13, __u32)

#endif
