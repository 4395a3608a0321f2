/* dma-bufs that VFIO did not export. */
#ifndef LAB_FOREIGN_H
#define LAB_FOREIGN_H

#include <stdint.h>

/* Each returns a dma-buf fd, or -1 and errno. */
int udmabuf_create(uint64_t bytes);
int heap_allocate(uint64_t bytes);

#endif
