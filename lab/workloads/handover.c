#include "handover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "text.h"

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		give_up(EXIT_USAGE, "the socket path %s is too long; the limit is %zu bytes",
			path, sizeof(address.sun_path) - 1);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return address;
}

static int close_keeping_errno(int fd)
{
	int cause = errno;

	close(fd);
	errno = cause;
	return -1;
}

int handover_send(int fd, const char *socket_path)
{
	enum { TRIES = 100 };
	struct sockaddr_un address = address_of(socket_path);
	char byte = 0;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	union control control = { 0 };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (peer < 0)
		return -1;
	/* A holder that was started in the background may not listen yet. */
	for (int i = 1; connect(peer, (struct sockaddr *)&address, sizeof(address)); i++) {
		if (i == TRIES)
			return close_keeping_errno(peer);
		sleep_for(100000000);
	}
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	if (sendmsg(peer, &message, 0) != 1)
		return close_keeping_errno(peer);
	close(peer);
	return 0;
}

int handover_receive(const char *socket_path)
{
	struct sockaddr_un address = address_of(socket_path);
	char byte;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	union control control = { 0 };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header;
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int peer, fd;

	if (server < 0)
		return -1;
	unlink(socket_path);
	if (bind(server, (struct sockaddr *)&address, sizeof(address)) || listen(server, 1))
		return close_keeping_errno(server);
	peer = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	close_keeping_errno(server);
	if (peer < 0)
		return -1;
	if (recvmsg(peer, &message, MSG_CMSG_CLOEXEC) != 1)
		return close_keeping_errno(peer);
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_RIGHTS) {
		errno = EBADMSG;
		return close_keeping_errno(peer);
	}
	memcpy(&fd, CMSG_DATA(header), sizeof(int));
	close(peer);
	unlink(socket_path);
	return fd;
}
