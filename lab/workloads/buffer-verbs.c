/* Steps that make buffers and offer them to importers. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "export.h"
#include "foreign.h"
#include "handover.h"
#include "kvm-importer.h"
#include "session.h"
#include "text.h"
#include "vgem.h"

enum { MOST_RANGES = 1024 };

#define BIND_ARGUMENTS "N,vm=NAME[,bytes=B][,stale=RET][,flags=N][,region-offset=B][,memslot=RET]"

/* Stores a new dma-buf as the next buffer. A rejected call is returned unchanged. */
static struct answer keep(struct session *session, int fd)
{
	struct answer answer = answer_of(fd);
	struct buffer *buffer;

	if (fd < 0)
		return answer;
	if (session->buffer_count == MOST_BUFFERS)
		give_up(EXIT_USAGE, "at most %d buffers are possible", MOST_BUFFERS);
	buffer = &session->buffers[session->buffer_count++];
	*buffer = (struct buffer){ .fd = fd, .path_fd = -1, .slot = -1, .attachment = -1 };
	buffer->size = (uint64_t)lseek(fd, 0, SEEK_END);
	answer.buffer = buffer;
	return answer;
}

static struct answer export(struct session *session, char *arguments)
{
	struct device *device = current_device(session);
	struct lab_dma_range ranges[MOST_RANGES];
	uint32_t region = (uint32_t)number(next_word(&arguments), UINT32_MAX);
	uint32_t given = 0, flags = 0, announced = 0;
	unsigned int times = 1, made = 0;
	bool announced_otherwise = false;
	struct answer answer = { 0 };

	for (char *word, *value; (word = next_word(&arguments));) {
		if ((value = option(word, "flags"))) {
			flags = (uint32_t)number(value, UINT32_MAX);
		} else if ((value = option(word, "nr"))) {
			announced = (uint32_t)number(value, UINT32_MAX);
			announced_otherwise = true;
		} else if ((value = option(word, "times"))) {
			times = (unsigned int)number(value, MOST_BUFFERS);
		} else if (given == MOST_RANGES) {
			give_up(EXIT_USAGE, "at most %d ranges are possible", MOST_RANGES);
		} else {
			ranges[given++] = range_of(word);
		}
	}
	if (!announced_otherwise)
		announced = given;
	for (unsigned int i = 0; i < times; i++) {
		answer = keep(session, export_ranges(device->fd, region, flags, announced, ranges, given));
		made += answer.ret >= 0;
	}
	answer.times = times;
	answer.made = made;
	return answer;
}

static struct answer probe(struct session *session, char *arguments)
{
	return answer_of(export_probe(current_device(session)->fd,
				      (uint32_t)number(arguments, UINT32_MAX)));
}

static struct answer export_bad(struct session *session, char *arguments)
{
	struct device *device = current_device(session);
	bool ranges = !strcmp(arguments, "ranges");
	int region = first_memory_region(device);

	if (!ranges && strcmp(arguments, "header"))
		give_up(EXIT_USAGE, "write export-bad-pointer=header or export-bad-pointer=ranges");
	if (region < 0)
		give_up(EXIT_ENVIRONMENT, "%s has no memory BAR of whole pages; use another device",
			device->address);
	return answer_of(export_bad_pointer(device->fd, (uint32_t)region, ranges));
}

static struct answer vgem(struct session *session, char *arguments)
{
	struct buffer *buffer = buffer_of(session, arguments);

	if (session->vgem_fd < 0)
		session->vgem_fd = vgem_open();
	return answer_of(vgem_import(session->vgem_fd, buffer->fd));
}

static struct answer udmabuf(struct session *session, char *arguments)
{
	return keep(session, udmabuf_create(number(arguments, INT64_MAX)));
}

static struct answer heap(struct session *session, char *arguments)
{
	return keep(session, heap_allocate(number(arguments, INT64_MAX)));
}

static struct answer bind(struct session *session, char *arguments)
{
	struct buffer *buffer = buffer_of(session, next_word(&arguments));
	struct kvm_vfio_dmabuf_lab_bind request = {
		.dmabuf_fd = buffer->fd,
		.bytes = buffer->size,
		.stale_ret = -EINVAL,
		.flags = KVM_MEM_VFIO_DMABUF,
	};
	struct vm *vm = NULL;
	int slot;

	for (char *word, *value; (word = next_word(&arguments));) {
		if ((value = option(word, "vm")))
			vm = vm_of(session, value);
		else if ((value = option(word, "bytes")))
			request.bytes = number(value, INT64_MAX);
		else if ((value = option(word, "stale")))
			request.stale_ret = (int32_t)signed_number(value);
		else if ((value = option(word, "flags")))
			request.flags = (uint32_t)number(value, UINT32_MAX);
		else if ((value = option(word, "region-offset")))
			request.region_offset = number(value, INT64_MAX);
		else if ((value = option(word, "memslot")))
			request.memslot_ret = (int32_t)signed_number(value);
		else
			give_up(EXIT_USAGE, "'%s' is unknown here; write bind=" BIND_ARGUMENTS, word);
	}
	if (!vm)
		give_up(EXIT_USAGE, "the VM is missing; write bind=N,vm=NAME");
	if (session->importer_fd < 0)
		session->importer_fd = importer_open();
	request.kvm_fd = vm->fd;
	slot = importer_bind(session->importer_fd, &request);
	if (slot >= 0)
		buffer->slot = slot;
	return answer_of(slot);
}

/* The slot of a buffer. */
static uint32_t slot_of(const struct buffer *buffer)
{
	if (buffer->slot < 0)
		give_up(EXIT_USAGE, "that buffer is not bound; bind=N,vm=NAME has to succeed before this step");
	return (uint32_t)buffer->slot;
}

static struct answer unbind(struct session *session, char *arguments)
{
	struct buffer *buffer = buffer_of(session, arguments);
	int ret = importer_unbind(session->importer_fd, slot_of(buffer));

	if (!ret)
		buffer->slot = -1;
	return answer_of(ret);
}

static struct answer fault(struct session *session, char *arguments)
{
	struct buffer *buffer = buffer_of(session, next_word(&arguments));
	uint64_t offset = 0;

	for (char *word, *value; (word = next_word(&arguments));) {
		if ((value = option(word, "offset")))
			offset = number(value, INT64_MAX);
		else
			give_up(EXIT_USAGE, "'%s' is unknown here; write fault=N[,offset=B]", word);
	}
	return answer_of(importer_fault(session->importer_fd, slot_of(buffer), offset));
}

static struct answer close_buffer(struct session *session, char *arguments)
{
	struct buffer *buffer = buffer_of(session, arguments);
	int ret = close(buffer->fd);

	buffer->fd = -1;
	return answer_of(ret);
}

/* Opens the path of the buffer's file, which holds no reference of the file itself. */
static struct answer hold_path(struct session *session, char *arguments)
{
	struct buffer *buffer = buffer_of(session, arguments);
	char link[32];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", buffer->fd);
	buffer->path_fd = open(link, O_PATH | O_CLOEXEC);
	return answer_of(buffer->path_fd);
}

static struct answer drop_path(struct session *session, char *arguments)
{
	struct buffer *buffer = buffer_of(session, arguments);
	int ret = close(buffer->path_fd);

	buffer->path_fd = -1;
	return answer_of(ret);
}

static struct answer send_buffer(struct session *session, char *arguments)
{
	struct buffer *buffer = buffer_of(session, next_word(&arguments));

	if (!arguments || !*arguments)
		give_up(EXIT_USAGE, "the socket is missing; write send=N,SOCKETPATH");
	return answer_of(handover_send(buffer->fd, arguments));
}

const struct verb buffer_verbs[] = {
	{ "export", "REGION,OFFSET:LENGTH[,OFFSET:LENGTH...][,flags=N][,nr=N][,times=N]", export },
	{ "probe", "REGION", probe },
	{ "export-bad-pointer", "header|ranges", export_bad },
	{ "udmabuf", "BYTES", udmabuf },
	{ "heap", "BYTES", heap },
	{ "vgem", "N", vgem },
	{ "bind", BIND_ARGUMENTS, bind },
	{ "unbind", "N", unbind },
	{ "fault", "N[,offset=B]", fault },
	{ "send", "N,SOCKETPATH", send_buffer },
	{ "close", "N", close_buffer },
	{ "hold-path", "N", hold_path },
	{ "drop-path", "N", drop_path },
	{ 0 },
};
