/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * ioctls of /dev/kvm-vfio-dmabuf-lab, shared by the module and the workloads.
 *
 * BIND answers a slot id (0 or more) or -errno: it plays the memory slot that
 * KVM_SET_USER_MEMORY_REGION2 would make. UNBIND takes that id. Closing the
 * file unbinds whatever is left; until then a bound slot keeps its VM alive.
 *
 * A stale_ret of 0 gives a slot that holds no attachment; one above 0 cannot be
 * told from a slot id, so BIND then answers -EPROTO.
 */
#ifndef KVM_VFIO_DMABUF_LAB_H
#define KVM_VFIO_DMABUF_LAB_H

#include <linux/ioctl.h>
#include <linux/types.h>

struct kvm_vfio_dmabuf_lab_bind {
	__s32 kvm_fd;
	__s32 dmabuf_fd;
	__u64 bytes;		/* size of the slot, whole pages */
	__s32 stale_ret;	/* what the posted code's unset `ret` happens to hold */
	__u32 reserved;		/* must be 0 */
};

struct kvm_vfio_dmabuf_lab_unbind {
	__u32 slot;
	__u32 reserved;		/* must be 0 */
};

#define KVM_VFIO_DMABUF_LAB_NODE "kvm-vfio-dmabuf-lab"
#define KVM_VFIO_DMABUF_LAB_BIND _IOW('L', 0x01, struct kvm_vfio_dmabuf_lab_bind)
#define KVM_VFIO_DMABUF_LAB_UNBIND _IOW('L', 0x02, struct kvm_vfio_dmabuf_lab_unbind)

#endif
