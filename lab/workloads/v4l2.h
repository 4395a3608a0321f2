/* Importing a dma-buf into a V4L2 capture queue of the kernel's test driver vivid. */
#ifndef LAB_V4L2_H
#define LAB_V4L2_H

#include <stdint.h>

/* Opens vivid's capture device and asks for one dma-buf slot; -1 with errno where the driver says no. */
int v4l2_open(void);
/* Queues a dma-buf; a length of 0 leaves it to the kernel. 0 or -1 with errno. */
int v4l2_queue(int fd, int dmabuf_fd, uint32_t length);

#endif
