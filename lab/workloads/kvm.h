/* Virtual machines that hold a VFIO device, without a single vCPU. */
#ifndef LAB_KVM_H
#define LAB_KVM_H

struct vm {
	char name[32];
	int fd;       /* -1 when closed */
	int vfio_fd;  /* its KVM_DEV_TYPE_VFIO device */
};

/* 0, or -1 and errno. */
int vm_open(struct vm *vm, const char *name);
void vm_close(struct vm *vm);
/* Tells KVM that a VFIO group belongs to this VM, or no longer does. */
int vm_link_group(int vfio_fd, int group_fd);
int vm_unlink_group(int vfio_fd, int group_fd);

#endif
