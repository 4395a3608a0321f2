/* Steps of the lab's importer modules, of a DRM driver and of V4L2, and mmap of a buffer. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lab_importer.h"
#include "session.h"
#include "text.h"
#include "v4l2.h"
#include "vgem.h"

/* Opens a device node once for each process. */
static int node(int *fd, const char *path, const char *module)
{
	if (*fd < 0)
		*fd = open(path, O_RDWR | O_CLOEXEC);
	if (*fd < 0)
		give_up(EXIT_ENVIRONMENT, "cannot open %s (%m); load %s.ko (lab/modules builds it)", path, module);
	return *fd;
}

static int importer(void)
{
	static int fd = -1;

	return node(&fd, "/dev/" LAB_IMPORTER_NODE, "lab_importer");
}

static int rdma(void)
{
	static int fd = -1;

	return node(&fd, "/dev/" LAB_RDMA_IMPORTER_NODE, "lab_rdma_importer");
}

static void put_device(char (*device)[16], const char *address)
{
	if (strlen(address) >= sizeof(*device))
		give_up(EXIT_USAGE, "'%s' is not a PCI address; write it as 0000:01:00.0", address);
	strcpy(*device, address);
}

static struct answer attach(struct session *session, char *arguments)
{
	struct buffer *buffer = buffer_of(session, next_word(&arguments));
	struct lab_importer_attach request = { .dmabuf_fd = buffer->fd, .flags = LAB_IMPORTER_DYNAMIC };
	int id;

	for (char *word, *value; (word = next_word(&arguments));) {
		if (!strcmp(word, "static"))
			request.flags &= ~LAB_IMPORTER_DYNAMIC;
		else if (!strcmp(word, "p2p"))
			request.flags |= LAB_IMPORTER_PEER2PEER;
		else if (!strcmp(word, "invalidate"))
			request.flags |= LAB_IMPORTER_INVALIDATE;
		else if ((value = option(word, "on")))
			put_device(&request.device, value);
		else if ((value = option(word, "hold")))
			request.hold_ms = (uint32_t)(nanoseconds(value) / 1000000);
		else
			give_up(EXIT_USAGE, "'%s' is unknown here; write attach=N[,static][,p2p][,invalidate][,on=ADDRESS][,hold=SECONDS]", word);
	}
	id = ioctl(importer(), LAB_IMPORTER_ATTACH, &request);
	if (id >= 0)
		buffer->attachment = id;
	return answer_of(id);
}

static struct answer step(struct session *session, const char *word, int fd, unsigned long command)
{
	struct buffer *buffer = buffer_of(session, word);
	uint32_t id = (uint32_t)buffer->attachment;

	if (buffer->attachment < 0)
		give_up(EXIT_USAGE, "that buffer is not attached; attach=N or rdma=N has to succeed before this step");
	return answer_of(ioctl(fd, command, &id));
}

static struct answer pin(struct session *session, char *arguments)
{
	return step(session, arguments, importer(), LAB_IMPORTER_PIN);
}

static struct answer unpin(struct session *session, char *arguments)
{
	return step(session, arguments, importer(), LAB_IMPORTER_UNPIN);
}

static struct answer map(struct session *session, char *arguments)
{
	return step(session, arguments, importer(), LAB_IMPORTER_MAP);
}

static struct answer unmap(struct session *session, char *arguments)
{
	return step(session, arguments, importer(), LAB_IMPORTER_UNMAP);
}

static struct answer detach(struct session *session, char *arguments)
{
	return step(session, arguments, importer(), LAB_IMPORTER_DETACH);
}

static struct answer vmap(struct session *session, char *arguments)
{
	int32_t fd = buffer_of(session, arguments)->fd;

	return answer_of(ioctl(importer(), LAB_IMPORTER_VMAP, &fd));
}

static struct answer rdma_get(struct session *session, char *arguments)
{
	struct buffer *buffer = buffer_of(session, next_word(&arguments));
	struct lab_rdma_get request = { .dmabuf_fd = buffer->fd, .length = buffer->size };
	int id;

	for (char *word, *value; (word = next_word(&arguments));) {
		if (!strcmp(word, "pinned"))
			request.kind = LAB_RDMA_PINNED;
		else if (!strcmp(word, "revocable"))
			request.kind = LAB_RDMA_REVOCABLE;
		else if ((value = option(word, "on")))
			put_device(&request.device, value);
		else if ((value = option(word, "offset")))
			request.offset = number(value, UINT64_MAX);
		else if ((value = option(word, "length")))
			request.length = number(value, UINT64_MAX);
		else
			give_up(EXIT_USAGE, "'%s' is unknown here; write rdma=N[,pinned|revocable][,on=ADDRESS][,offset=B][,length=B]", word);
	}
	id = ioctl(rdma(), LAB_RDMA_GET, &request);
	if (id >= 0)
		buffer->attachment = id;
	return answer_of(id);
}

static struct answer rdma_map(struct session *session, char *arguments)
{
	return step(session, arguments, rdma(), LAB_RDMA_MAP);
}

static struct answer rdma_release(struct session *session, char *arguments)
{
	return step(session, arguments, rdma(), LAB_RDMA_RELEASE);
}

static struct answer drm(struct session *session, char *arguments)
{
	static int fd = -1;

	if (fd < 0)
		fd = drm_open("lab_drm");
	return answer_of(vgem_import(fd, buffer_of(session, arguments)->fd));
}

static struct answer vivid(struct session *session, char *arguments)
{
	static int fd = -1;
	struct buffer *buffer = buffer_of(session, next_word(&arguments));
	uint32_t length = arguments ? (uint32_t)number(arguments, UINT32_MAX) : 0;

	if (fd < 0)
		fd = v4l2_open();
	return answer_of(fd < 0 ? -1 : v4l2_queue(fd, buffer->fd, length));
}

static struct answer map_cpu(struct session *session, char *arguments)
{
	struct buffer *buffer = buffer_of(session, arguments);
	void *memory = mmap(NULL, buffer->size, PROT_READ, MAP_SHARED, buffer->fd, 0);

	if (memory == MAP_FAILED)
		return answer_of(-1);
	munmap(memory, buffer->size);
	return answer_of(0);
}

const struct verb importer_verbs[] = {
	{ "attach", "N[,static][,p2p][,invalidate][,on=ADDRESS][,hold=SECONDS]", attach },
	{ "pin", "N", pin },
	{ "unpin", "N", unpin },
	{ "map", "N", map },
	{ "unmap", "N", unmap },
	{ "detach", "N", detach },
	{ "vmap", "N", vmap },
	{ "mmap", "N", map_cpu },
	{ "rdma", "N[,pinned|revocable][,on=ADDRESS][,offset=B][,length=B]", rdma_get },
	{ "rdma-map", "N", rdma_map },
	{ "rdma-release", "N", rdma_release },
	{ "drm", "N", drm },
	{ "vivid", "N[,LENGTH]", vivid },
	{ 0 },
};
