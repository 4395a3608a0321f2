/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The ioctl of /dev/lab-vm-kind, shared by the module and the workloads. MARK
 * returns 0 or -errno, and works once for each open file. Closing the file
 * undoes the mark.
 */
#ifndef LAB_VM_KIND_H
#define LAB_VM_KIND_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define LAB_VM_KIND_NODE "lab-vm-kind"

/* State that KVM_SEV_INIT and KVM_SEV_ES_INIT leave in a VM of any type. */
#define LAB_VM_SEV 1u
#define LAB_VM_SEV_ES 2u

struct lab_vm_kind_mark {
	__s32 kvm_fd;
	__u32 vm_type;		/* KVM_X86_*_VM */
	__u32 flags;		/* LAB_VM_* */
	__u32 reserved;		/* must be 0 */
};

#define LAB_VM_KIND_MARK _IOW('V', 0x01, struct lab_vm_kind_mark)

#endif
