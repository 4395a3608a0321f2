/* Virtual machines that hold a VFIO device, without a single vCPU. */
#ifndef LAB_KVM_H
#define LAB_KVM_H

#include <stdint.h>

struct vm {
	char name[32];
	int fd;       /* -1 when closed */
	int vfio_fd;  /* its KVM_DEV_TYPE_VFIO device */
	int kind_fd;  /* the lab's mark of its kind, or -1 */
};

/* 0, or -1 and errno. */
int vm_open(struct vm *vm, const char *name);
/* Lets the kernel take an open VM for one of another kind: a KVM_X86_*_VM, LAB_VM_* flags. 0, or -1 and errno. */
int vm_mark(struct vm *vm, uint32_t type, uint32_t flags);
void vm_close(struct vm *vm);
/* Tells KVM that a VFIO group belongs to this VM, or no longer does. */
int vm_link_group(int vfio_fd, int group_fd);
int vm_unlink_group(int vfio_fd, int group_fd);

#endif
