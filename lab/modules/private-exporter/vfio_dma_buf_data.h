/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a private-MMIO kernel tells an importer about a VFIO dma-buf.
 *
 * A stand-in for the posted RFC "Private MMIO support for private assigned
 * dev", not the patch itself: no released kernel has it, so the lab gives the
 * distribution's vfio-pci-core the same contract with lines of its own.
 *
 * LAB_PRIVATE_DIALECT is 1 for the first posting (with is_private) and 2 for
 * the second (without it); build.sh sets it for exporter and importer alike.
 */
#ifndef VFIO_DMA_BUF_DATA_H
#define VFIO_DMA_BUF_DATA_H

#include <linux/types.h>

#ifndef LAB_PRIVATE_DIALECT
#error "LAB_PRIVATE_DIALECT must be 1 or 2: build through lab/modules/build.sh"
#endif

struct dma_buf;
struct kvm;

struct vfio_dma_buf_data {
#if LAB_PRIVATE_DIALECT == 1
	bool is_private;
#endif
	struct kvm *kvm;
};

struct vfio_dma_buf_data *vfio_dma_buf_get_data(struct dma_buf *dmabuf);

#endif
