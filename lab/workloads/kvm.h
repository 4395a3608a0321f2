/* VMs with a VFIO device and without a vCPU. */
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
/* Marks an open VM as another kind. type is a KVM_X86_*_VM, flags are LAB_VM_*. Returns 0, or -1 and errno. */
int vm_mark(struct vm *vm, uint32_t type, uint32_t flags);
void vm_close(struct vm *vm);
/* Adds a VFIO group, or a device that was opened by its own file, to the VM (KVM_DEV_VFIO_FILE_ADD), or removes it. */
int vm_link(int vfio_fd, int file_fd);
int vm_unlink(int vfio_fd, int file_fd);

#endif
