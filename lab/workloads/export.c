#include "export.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "text.h"

struct lab_dma_range range_of(char *word)
{
	char *colon = strchr(word, ':');

	if (!colon)
		give_up(EXIT_USAGE, "'%s' is not a range; write OFFSET:LENGTH, as 0x1000:4096", word);
	*colon = '\0';
	return (struct lab_dma_range){
		.offset = number(word, UINT64_MAX),
		.length = number(colon + 1, UINT64_MAX),
	};
}

static int ask(int device_fd, uint32_t operation, uint32_t region, uint32_t flags,
	       uint32_t announced, const struct lab_dma_range *ranges, uint32_t given)
{
	size_t payload = sizeof(struct lab_feature_dma_buf) + given * sizeof(*ranges);
	struct vfio_device_feature *feature = calloc(1, sizeof(*feature) + payload);
	struct lab_feature_dma_buf *request;
	int ret;

	if (!feature)
		abort();
	feature->argsz = (uint32_t)(sizeof(*feature) + payload);
	feature->flags = operation | LAB_FEATURE_DMA_BUF;
	request = (void *)feature->data;
	request->region_index = region;
	request->open_flags = O_RDWR | O_CLOEXEC;
	request->flags = flags;
	request->nr_ranges = announced;
	if (given)
		memcpy(request->ranges, ranges, given * sizeof(*ranges));
	ret = ioctl(device_fd, VFIO_DEVICE_FEATURE, feature);
	free(feature);
	return ret;
}

int export_ranges(int device_fd, uint32_t region, uint32_t flags, uint32_t announced,
		  const struct lab_dma_range *ranges, uint32_t given)
{
	return ask(device_fd, VFIO_DEVICE_FEATURE_GET, region, flags, announced, ranges, given);
}

int export_probe(int device_fd, uint32_t region)
{
	struct lab_dma_range page = { .length = (uint64_t)sysconf(_SC_PAGESIZE) };

	return ask(device_fd, VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET, region, 0, 1,
		   &page, 1);
}

int export_bad_pointer(int device_fd, uint32_t region, bool head_readable)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t head = sizeof(struct lab_feature_dma_buf);
	struct vfio_device_feature *feature;
	struct lab_feature_dma_buf request = { .region_index = region, .nr_ranges = 1 };
	uint8_t *pages;
	int ret, cause;

	pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		return -1;
	/* The kernel cannot read beyond the first page. */
	munmap(pages + page, page);
	feature = (void *)(pages + page - sizeof(*feature) - (head_readable ? head : 0));
	feature->argsz = (uint32_t)(sizeof(*feature) + head + sizeof(struct lab_dma_range));
	feature->flags = VFIO_DEVICE_FEATURE_GET | LAB_FEATURE_DMA_BUF;
	if (head_readable)
		memcpy(feature->data, &request, head);
	ret = ioctl(device_fd, VFIO_DEVICE_FEATURE, feature);
	cause = errno;
	munmap(pages, page);
	errno = cause;
	return ret;
}
