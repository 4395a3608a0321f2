#include "foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "text.h"
#include "uapi.h"

int udmabuf_create(uint64_t bytes)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = bytes };
	int device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	int memory, fd = -1, cause;

	if (device < 0)
		give_up(EXIT_ENVIRONMENT, "cannot open /dev/udmabuf (%m); the kernel needs CONFIG_UDMABUF");
	memory = memfd_create("lab", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	/* The kernel accepts only memory that is sealed against shrinking. */
	if (memory >= 0 && !ftruncate(memory, (off_t)bytes) &&
	    !fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK)) {
		create.memfd = (uint32_t)memory;
		fd = ioctl(device, UDMABUF_CREATE, &create);
	}
	cause = errno;
	if (memory >= 0)
		close(memory);
	close(device);
	errno = cause;
	return fd;
}

int heap_allocate(uint64_t bytes)
{
	struct dma_heap_allocation_data request = { .len = bytes, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC);
	int ret, cause;

	if (heap < 0)
		give_up(EXIT_ENVIRONMENT,
			"cannot open /dev/dma_heap/system (%m); the kernel needs CONFIG_DMABUF_HEAPS_SYSTEM");
	ret = ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &request);
	cause = errno;
	close(heap);
	errno = cause;
	return ret ? -1 : (int)request.fd;
}
