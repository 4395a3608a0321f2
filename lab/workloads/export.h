/* VFIO_DEVICE_FEATURE_DMA_BUF, as a VMM asks for it and as a broken one does. */
#ifndef LAB_EXPORT_H
#define LAB_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "uapi.h"

/* Each returns a dma-buf fd (probe: 0), or -1 and errno. */
int export_ranges(int device_fd, uint32_t region, uint32_t flags, uint32_t announced,
		  const struct lab_dma_range *ranges, uint32_t given);
int export_probe(int device_fd, uint32_t region);
/* The kernel may read the feature header, and then the request or only its head. */
int export_bad_pointer(int device_fd, uint32_t region, bool head_readable);

#endif
