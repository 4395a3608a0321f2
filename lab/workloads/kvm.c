#include "kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lab_vm_kind.h"
#include "text.h"
#include "uapi.h"

int vm_open(struct vm *vm, const char *name)
{
	struct kvm_create_device device = { .type = KVM_DEV_TYPE_VFIO };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	vm->fd = vm->vfio_fd = vm->kind_fd = -1;
	snprintf(vm->name, sizeof(vm->name), "%s", name);
	if (kvm < 0)
		give_up(EXIT_ENVIRONMENT,
			"cannot open /dev/kvm (%m); load kvm_amd or kvm_intel, and start QEMU with -cpu max,+svm");

	vm->fd = ioctl(kvm, KVM_CREATE_VM, 0);
	close(kvm);
	if (vm->fd < 0)
		return -1;
	if (ioctl(vm->fd, KVM_CREATE_DEVICE, &device)) {
		int cause = errno;

		vm_close(vm);
		errno = cause;
		return -1;
	}
	vm->vfio_fd = (int)device.fd;
	return 0;
}

int vm_mark(struct vm *vm, uint32_t type, uint32_t flags)
{
	struct lab_vm_kind_mark mark = { .kvm_fd = vm->fd, .vm_type = type, .flags = flags };

	vm->kind_fd = open("/dev/" LAB_VM_KIND_NODE, O_RDWR | O_CLOEXEC);
	if (vm->kind_fd < 0)
		give_up(EXIT_ENVIRONMENT,
			"cannot open /dev/" LAB_VM_KIND_NODE " (%m); load lab_vm_kind.ko (lab/modules builds it)");
	return ioctl(vm->kind_fd, LAB_VM_KIND_MARK, &mark);
}

void vm_close(struct vm *vm)
{
	if (vm->vfio_fd >= 0)
		close(vm->vfio_fd);
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->kind_fd >= 0)
		close(vm->kind_fd);
	vm->fd = vm->vfio_fd = vm->kind_fd = -1;
}

static int set_file(int vfio_fd, uint64_t what, int file_fd)
{
	int32_t fd = file_fd;
	struct kvm_device_attr attribute = {
		.group = KVM_DEV_VFIO_FILE,
		.attr = what,
		.addr = (uint64_t)(uintptr_t)&fd,
	};

	return ioctl(vfio_fd, KVM_SET_DEVICE_ATTR, &attribute);
}

int vm_link(int vfio_fd, int file_fd)
{
	return set_file(vfio_fd, KVM_DEV_VFIO_FILE_ADD, file_fd);
}

int vm_unlink(int vfio_fd, int file_fd)
{
	return set_file(vfio_fd, KVM_DEV_VFIO_FILE_DEL, file_fd);
}
