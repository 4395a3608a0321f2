/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * ioctls of /dev/kvm-vfio-dmabuf-lab, shared by the module and the workloads.
 *
 * BIND returns a slot id (0 or more) or -errno. The slot is a stand-in for the
 * memory slot that KVM_SET_USER_MEMORY_REGION2 would make. UNBIND takes that id.
 * Closing the file unbinds all slots that are left. A bound slot keeps its VM.
 * FAULT resolves an offset in the slot, as a fault of the guest would.
 *
 * After a failed lookup a stale_ret of 0 makes a slot without an attachment. A
 * positive one would look like a slot id, so BIND then returns -EPROTO.
 */
#ifndef KVM_VFIO_DMABUF_LAB_H
#define KVM_VFIO_DMABUF_LAB_H

#include <linux/ioctl.h>
#include <linux/types.h>

struct kvm_vfio_dmabuf_lab_bind {
	__s32 kvm_fd;
	__s32 dmabuf_fd;
	__u64 bytes;		/* size of the slot, whole pages */
	__s32 stale_ret;	/* value of `ret`, which the posted code leaves unset */
	__u32 flags;		/* of the memory region */
	__u64 region_offset;	/* guest_memfd_offset of the memory region */
	__s32 memslot_ret;	/* 0, or the -errno with which KVM rejects the slot after the bind */
	__u32 reserved;		/* must be 0 */
};

struct kvm_vfio_dmabuf_lab_unbind {
	__u32 slot;
	__u32 reserved;		/* must be 0 */
};

struct kvm_vfio_dmabuf_lab_fault {
	__u32 slot;
	__u32 reserved;		/* must be 0 */
	__u64 offset;		/* bytes from the start of the slot, whole pages */
};

/* The posted flag of kvm_userspace_memory_region2. */
#define KVM_MEM_VFIO_DMABUF (1UL << 3)

#define KVM_VFIO_DMABUF_LAB_NODE "kvm-vfio-dmabuf-lab"
#define KVM_VFIO_DMABUF_LAB_BIND _IOW('L', 0x01, struct kvm_vfio_dmabuf_lab_bind)
#define KVM_VFIO_DMABUF_LAB_UNBIND _IOW('L', 0x02, struct kvm_vfio_dmabuf_lab_unbind)
#define KVM_VFIO_DMABUF_LAB_FAULT _IOW('L', 0x03, struct kvm_vfio_dmabuf_lab_fault)

#endif
