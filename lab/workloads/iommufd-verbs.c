/* Steps for iommufd: mappings of buffers, and mappings by address. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "export.h"
#include "session.h"
#include "text.h"

static struct answer map(struct session *session, char *arguments)
{
	struct buffer *buffer = buffer_of(session, next_word(&arguments));
	uint64_t length = arguments ? number(arguments, UINT64_MAX) : buffer->size;

	if (session->iommufd.fd < 0 && iommufd_open(&session->iommufd))
		return answer_of(-1);
	return answer_of(iommufd_map(&session->iommufd, buffer->fd, length, &buffer->iova));
}

/* Maps at the address of the existing mapping, as a VMM does that remaps without an unmap. */
static struct answer map_again(struct session *session, char *arguments)
{
	struct buffer *buffer = buffer_of(session, arguments);

	if (session->iommufd.fd < 0)
		give_up(EXIT_USAGE, "nothing is mapped; write iommufd=N before this step");
	return answer_of(iommufd_map_at(&session->iommufd, buffer->fd, buffer->size, buffer->iova));
}

/* Maps guest memory from a memfd, as a VMM does. A memfd is not a dma-buf. */
static struct answer map_memory(struct session *session, char *arguments)
{
	uint64_t bytes = number(arguments, INT64_MAX), iova;
	int fd = memfd_create("guest", MFD_CLOEXEC), ret = -1, cause;

	if (session->iommufd.fd < 0 && iommufd_open(&session->iommufd))
		return answer_of(-1);
	if (fd >= 0 && !ftruncate(fd, (off_t)bytes))
		ret = iommufd_map(&session->iommufd, fd, bytes, &iova);
	cause = errno;
	if (fd >= 0)
		close(fd);
	errno = cause;
	return answer_of(ret);
}

static struct answer unmap(struct session *session, char *arguments)
{
	struct buffer *buffer = buffer_of(session, arguments);

	if (session->iommufd.fd < 0)
		give_up(EXIT_USAGE, "nothing is mapped; write iommufd=N before this step");
	return answer_of(iommufd_unmap(&session->iommufd, buffer->iova, buffer->size));
}

/* Maps a buffer a second time, from its existing mapping. */
static struct answer copy(struct session *session, char *arguments)
{
	struct buffer *buffer = buffer_of(session, arguments);

	if (session->iommufd.fd < 0)
		give_up(EXIT_USAGE, "nothing is mapped; write iommufd=N before this step");
	return answer_of(iommufd_copy(&session->iommufd, buffer->iova, buffer->size));
}

/* The address of a mapping by VFIO's call for a container, which does not choose one. */
#define COMPAT_IOVA 0x10000000

/* Maps memory of this process by its address, then removes it from this process. */
static struct answer map_address(struct session *session, void *memory, uint64_t bytes, bool compat)
{
	const struct iommufd *iommufd = &session->iommufd;
	uint64_t iova;
	int ret = -1, cause;

	if (memory == MAP_FAILED)
		return answer_of(-1);
	if (iommufd->fd >= 0 || !iommufd_open(&session->iommufd))
		ret = compat ? iommufd_map_compat(iommufd, memory, bytes, COMPAT_IOVA) :
			       iommufd_map_address(iommufd, memory, bytes, &iova);
	cause = errno;
	munmap(memory, bytes);
	errno = cause;
	return answer_of(ret);
}

/* Maps a BAR by its address, as a VMM does that does not know dma-buf. */
static struct answer map_bar_by(struct session *session, char *arguments, bool compat)
{
	struct device *device = current_device(session);
	unsigned int region = (unsigned int)number(next_word(&arguments), UINT32_MAX);
	struct lab_dma_range part = { .length = region_size(device, region) };

	if (arguments)
		part = range_of(arguments);
	return map_address(session, region_mmap(device, region, part.offset, part.length), part.length, compat);
}

static struct answer map_bar(struct session *session, char *arguments)
{
	return map_bar_by(session, arguments, false);
}

static struct answer map_bar_compat(struct session *session, char *arguments)
{
	return map_bar_by(session, arguments, true);
}

static void *memory_of(uint64_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* Maps guest memory by its address, as a VMM does with anonymous memory. */
static struct answer map_ram(struct session *session, char *arguments)
{
	uint64_t bytes = number(arguments, INT64_MAX);

	return map_address(session, memory_of(bytes), bytes, false);
}

/* Maps an address that has no memory any more. */
static struct answer map_hole(struct session *session, char *arguments)
{
	uint64_t bytes = number(arguments, INT64_MAX);
	void *memory = memory_of(bytes);

	if (memory != MAP_FAILED)
		munmap(memory, bytes);
	return map_address(session, memory, bytes, false);
}

const struct verb iommufd_verbs[] = {
	{ "iommufd", "N[,LENGTH]", map },
	{ "iommufd-again", "N", map_again },
	{ "iommufd-memfd", "BYTES", map_memory },
	{ "iommufd-unmap", "N", unmap },
	{ "iommufd-bar", "REGION[,OFFSET:LENGTH]", map_bar },
	{ "iommufd-bar-compat", "REGION[,OFFSET:LENGTH]", map_bar_compat },
	{ "iommufd-copy", "N", copy },
	{ "iommufd-hole", "BYTES", map_hole },
	{ "iommufd-ram", "BYTES", map_ram },
	{ 0 },
};
