/* Imports a dma-buf into a V4L2 capture queue of the kernel's test driver vivid. */
#ifndef LAB_V4L2_H
#define LAB_V4L2_H

#include <stdint.h>

/* Opens vivid's capture device and requests one dma-buf slot. Returns the fd, or -1 and errno if the driver rejects it. */
int v4l2_open(void);
/* Queues a dma-buf. With length 0 the kernel uses the size of the dma-buf. Returns 0, or -1 and errno. */
int v4l2_queue(int fd, int dmabuf_fd, uint32_t length);

#endif
