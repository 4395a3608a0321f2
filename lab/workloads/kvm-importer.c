#include "kvm-importer.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include "text.h"

int importer_open(void)
{
	int fd = open("/dev/" KVM_VFIO_DMABUF_LAB_NODE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		give_up(EXIT_ENVIRONMENT,
			"cannot open /dev/" KVM_VFIO_DMABUF_LAB_NODE
			" (%m); load kvm_vfio_dmabuf_lab.ko (lab/modules builds it)");
	return fd;
}

int importer_bind(int importer_fd, const struct kvm_vfio_dmabuf_lab_bind *bind)
{
	return ioctl(importer_fd, KVM_VFIO_DMABUF_LAB_BIND, bind);
}

int importer_unbind(int importer_fd, uint32_t slot)
{
	struct kvm_vfio_dmabuf_lab_unbind unbind = { .slot = slot };

	return ioctl(importer_fd, KVM_VFIO_DMABUF_LAB_UNBIND, &unbind);
}

int importer_fault(int importer_fd, uint32_t slot, uint64_t offset)
{
	struct kvm_vfio_dmabuf_lab_fault fault = { .slot = slot, .offset = offset };

	return ioctl(importer_fd, KVM_VFIO_DMABUF_LAB_FAULT, &fault);
}
