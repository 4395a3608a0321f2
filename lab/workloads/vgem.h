/* vgem: an importer that attaches without peer-to-peer, which VFIO rejects. */
#ifndef LAB_VGEM_H
#define LAB_VGEM_H

/* Returns the fd of vgem's card. */
int vgem_open(void);
/* The same for the card of another driver. */
int drm_open(const char *driver);
/* Returns 0, or -1 and errno. */
int vgem_import(int vgem_fd, int dmabuf_fd);

#endif
