/* iommufd: the importer that maps a VFIO dma-buf, one range at a time. */
#ifndef LAB_IOMMUFD_H
#define LAB_IOMMUFD_H

#include <stdint.h>

struct iommufd {
	int fd;
	uint32_t ioas;
};

/* Each returns 0, or -1 and errno. */
int iommufd_open(struct iommufd *iommufd);
int iommufd_map(const struct iommufd *iommufd, int dmabuf_fd, uint64_t bytes, uint64_t *iova);
/* Maps at this address only (IOMMU_IOAS_MAP_FIXED_IOVA). */
int iommufd_map_at(const struct iommufd *iommufd, int dmabuf_fd, uint64_t bytes, uint64_t iova);
/* Maps memory of this process by its address (IOMMU_IOAS_MAP). */
int iommufd_map_address(const struct iommufd *iommufd, void *memory, uint64_t bytes, uint64_t *iova);
/* Maps it by VFIO's call for a container, VFIO_IOMMU_MAP_DMA, at this address. */
int iommufd_map_compat(const struct iommufd *iommufd, void *memory, uint64_t bytes, uint64_t iova);
/* Maps what is mapped at this address a second time (IOMMU_IOAS_COPY). */
int iommufd_copy(const struct iommufd *iommufd, uint64_t iova, uint64_t bytes);
int iommufd_unmap(const struct iommufd *iommufd, uint64_t iova, uint64_t bytes);

#endif
