#include "vgem.h"

#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <unistd.h>

#include "text.h"
#include "uapi.h"

static bool is_vgem(int fd)
{
	char name[16] = "";
	struct lab_drm_version version = { .name = name, .name_length = sizeof(name) - 1 };

	return !ioctl(fd, LAB_DRM_VERSION, &version) && !strcmp(name, "vgem");
}

int vgem_open(void)
{
	glob_t cards;
	int found = -1;

	if (!glob("/dev/dri/card*", 0, NULL, &cards)) {
		for (size_t i = 0; i < cards.gl_pathc && found < 0; i++) {
			int fd = open(cards.gl_pathv[i], O_RDWR | O_CLOEXEC);

			if (fd >= 0 && is_vgem(fd))
				found = fd;
			else if (fd >= 0)
				close(fd);
		}
		globfree(&cards);
	}
	if (found < 0)
		give_up(EXIT_ENVIRONMENT, "no card of /dev/dri belongs to vgem; run: modprobe vgem");
	return found;
}

int vgem_import(int vgem_fd, int dmabuf_fd)
{
	struct lab_drm_prime prime = { .fd = dmabuf_fd };

	return ioctl(vgem_fd, LAB_DRM_PRIME_FD_TO_HANDLE, &prime);
}
