#include "v4l2.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/videodev2.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "text.h"

static int is_vivid_capture(int fd)
{
	struct v4l2_capability capability = { 0 };

	return !ioctl(fd, VIDIOC_QUERYCAP, &capability) &&
	       !strcmp((const char *)capability.driver, "vivid") &&
	       (capability.device_caps & V4L2_CAP_VIDEO_CAPTURE);
}

int v4l2_open(void)
{
	struct v4l2_requestbuffers request = {
		.count = 1,
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.memory = V4L2_MEMORY_DMABUF,
	};
	glob_t nodes;
	int found = -1;

	if (!glob("/dev/video*", 0, NULL, &nodes)) {
		for (size_t i = 0; i < nodes.gl_pathc && found < 0; i++) {
			int fd = open(nodes.gl_pathv[i], O_RDWR | O_CLOEXEC);

			if (fd >= 0 && is_vivid_capture(fd))
				found = fd;
			else if (fd >= 0)
				close(fd);
		}
		globfree(&nodes);
	}
	if (found < 0)
		give_up(EXIT_ENVIRONMENT, "no capture device of /dev/video* belongs to vivid; run: modprobe vivid");
	if (ioctl(found, VIDIOC_REQBUFS, &request)) {
		int cause = errno;

		close(found);
		errno = cause;
		return -1;
	}
	return found;
}

int v4l2_queue(int fd, int dmabuf_fd, uint32_t length)
{
	struct v4l2_buffer buffer = {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.memory = V4L2_MEMORY_DMABUF,
		.length = length,
		.m.fd = dmabuf_fd,
	};

	return ioctl(fd, VIDIOC_QBUF, &buffer);
}
