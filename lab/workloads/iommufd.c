#include "iommufd.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "text.h"
#include "uapi.h"

int iommufd_open(struct iommufd *iommufd)
{
	struct lab_ioas_alloc ioas = { .size = sizeof(ioas) };

	iommufd->fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (iommufd->fd < 0)
		give_up(EXIT_ENVIRONMENT, "cannot open /dev/iommu (%m); load iommufd.ko (lab/modules builds it)");
	if (ioctl(iommufd->fd, LAB_IOAS_ALLOC, &ioas)) {
		int cause = errno;

		close(iommufd->fd);
		iommufd->fd = -1;
		errno = cause;
		return -1;
	}
	iommufd->ioas = ioas.ioas_id;
	return 0;
}

static int map_file(const struct iommufd *iommufd, int dmabuf_fd, uint64_t bytes, uint64_t *iova, uint32_t flags)
{
	struct lab_ioas_map_file map = {
		.size = sizeof(map),
		.flags = LAB_IOAS_MAP_READABLE | LAB_IOAS_MAP_WRITEABLE | flags,
		.ioas_id = iommufd->ioas,
		.fd = dmabuf_fd,
		.length = bytes,
		.iova = *iova,
	};
	int ret = ioctl(iommufd->fd, LAB_IOAS_MAP_FILE, &map);

	if (!ret)
		*iova = map.iova;
	return ret;
}

int iommufd_map(const struct iommufd *iommufd, int dmabuf_fd, uint64_t bytes, uint64_t *iova)
{
	return map_file(iommufd, dmabuf_fd, bytes, iova, 0);
}

int iommufd_map_at(const struct iommufd *iommufd, int dmabuf_fd, uint64_t bytes, uint64_t iova)
{
	return map_file(iommufd, dmabuf_fd, bytes, &iova, LAB_IOAS_MAP_FIXED_IOVA);
}

int iommufd_map_address(const struct iommufd *iommufd, void *memory, uint64_t bytes, uint64_t *iova)
{
	struct lab_ioas_map map = {
		.size = sizeof(map),
		.flags = LAB_IOAS_MAP_READABLE | LAB_IOAS_MAP_WRITEABLE,
		.ioas_id = iommufd->ioas,
		.user_va = (uint64_t)(uintptr_t)memory,
		.length = bytes,
	};
	int ret = ioctl(iommufd->fd, LAB_IOAS_MAP, &map);

	if (!ret)
		*iova = map.iova;
	return ret;
}

int iommufd_map_compat(const struct iommufd *iommufd, void *memory, uint64_t bytes, uint64_t iova)
{
	struct lab_vfio_ioas set = { .size = sizeof(set), .ioas_id = iommufd->ioas, .op = LAB_VFIO_IOAS_SET };
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uint64_t)(uintptr_t)memory,
		.iova = iova,
		.size = bytes,
	};

	if (ioctl(iommufd->fd, LAB_VFIO_IOAS, &set))
		return -1;
	return ioctl(iommufd->fd, VFIO_IOMMU_MAP_DMA, &map);
}

int iommufd_copy(const struct iommufd *iommufd, uint64_t iova, uint64_t bytes)
{
	struct lab_ioas_copy copy = {
		.size = sizeof(copy),
		.flags = LAB_IOAS_MAP_READABLE | LAB_IOAS_MAP_WRITEABLE,
		.dst_ioas_id = iommufd->ioas,
		.src_ioas_id = iommufd->ioas,
		.length = bytes,
		.src_iova = iova,
	};

	return ioctl(iommufd->fd, LAB_IOAS_COPY, &copy);
}

int iommufd_unmap(const struct iommufd *iommufd, uint64_t iova, uint64_t bytes)
{
	struct lab_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = iommufd->ioas,
		.iova = iova,
		.length = bytes,
	};

	return ioctl(iommufd->fd, LAB_IOAS_UNMAP, &unmap);
}
