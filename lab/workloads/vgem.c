#include "vgem.h"

#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <unistd.h>

#include "text.h"
#include "uapi.h"

static bool belongs_to(int fd, const char *driver)
{
	char name[16] = "";
	struct lab_drm_version version = { .name = name, .name_length = sizeof(name) - 1 };

	return !ioctl(fd, LAB_DRM_VERSION, &version) && !strcmp(name, driver);
}

int drm_open(const char *driver)
{
	glob_t cards;
	int found = -1;

	if (!glob("/dev/dri/card*", 0, NULL, &cards)) {
		for (size_t i = 0; i < cards.gl_pathc && found < 0; i++) {
			int fd = open(cards.gl_pathv[i], O_RDWR | O_CLOEXEC);

			if (fd >= 0 && belongs_to(fd, driver))
				found = fd;
			else if (fd >= 0)
				close(fd);
		}
		globfree(&cards);
	}
	if (found < 0)
		give_up(EXIT_ENVIRONMENT, "no card of /dev/dri belongs to %s; load its module", driver);
	return found;
}

int vgem_open(void)
{
	return drm_open("vgem");
}

int vgem_import(int vgem_fd, int dmabuf_fd)
{
	struct lab_drm_prime prime = { .fd = dmabuf_fd };

	return ioctl(vgem_fd, LAB_DRM_PRIME_FD_TO_HANDLE, &prime);
}
