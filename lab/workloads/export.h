/* Calls of VFIO_DEVICE_FEATURE_DMA_BUF, valid and invalid ones. */
#ifndef LAB_EXPORT_H
#define LAB_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "uapi.h"

/* Parses OFFSET:LENGTH. */
struct lab_dma_range range_of(char *word);
/* Each returns a dma-buf fd (probe: 0), or -1 and errno. */
int export_ranges(int device_fd, uint32_t region, uint32_t flags, uint32_t announced,
		  const struct lab_dma_range *ranges, uint32_t given);
int export_probe(int device_fd, uint32_t region);
/* An unreadable request: the kernel can read the feature header, and if head_readable also the request without its ranges. */
int export_bad_pointer(int device_fd, uint32_t region, bool head_readable);

#endif
