#include "kvm-importer.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include "kvm_vfio_dmabuf_lab.h"
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

int importer_bind(int importer_fd, int kvm_fd, int dmabuf_fd, uint64_t bytes, int32_t stale_ret)
{
	struct kvm_vfio_dmabuf_lab_bind bind = {
		.kvm_fd = kvm_fd,
		.dmabuf_fd = dmabuf_fd,
		.bytes = bytes,
		.stale_ret = stale_ret,
	};

	return ioctl(importer_fd, KVM_VFIO_DMABUF_LAB_BIND, &bind);
}

int importer_unbind(int importer_fd, uint32_t slot)
{
	struct kvm_vfio_dmabuf_lab_unbind unbind = { .slot = slot };

	return ioctl(importer_fd, KVM_VFIO_DMABUF_LAB_UNBIND, &unbind);
}
