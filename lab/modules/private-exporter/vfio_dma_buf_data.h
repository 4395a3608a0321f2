/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Data about a VFIO dma-buf that a private-MMIO kernel gives to an importer.
 *
 * A stand-in for the posted RFC "Private MMIO support for private assigned
 * dev", not the patch. No released kernel has it, so the lab adds the same
 * contract to the distribution's vfio-pci-core with its own code.
 *
 * LAB_PRIVATE_DIALECT is 1 for the first posting (with is_private), 2 for the
 * second (without it), and 3 for AMD's public trees, whose exporter is as in 2
 * and whose KVM binds without a lookup. build.sh sets it for both modules.
 */
#ifndef VFIO_DMA_BUF_DATA_H
#define VFIO_DMA_BUF_DATA_H

#include <linux/types.h>

#ifndef LAB_PRIVATE_DIALECT
#error "LAB_PRIVATE_DIALECT must be 1, 2 or 3: build through lab/modules/build.sh"
#endif

struct dma_buf;
struct dma_buf_attachment;
struct kvm;

struct vfio_dma_buf_data {
#if LAB_PRIVATE_DIALECT == 1
	bool is_private;
#endif
	struct kvm *kvm;
};

struct vfio_dma_buf_data *vfio_dma_buf_get_data(struct dma_buf *dmabuf);
int vfio_pci_dma_buf_get_pfn(struct dma_buf_attachment *attachment,
			     pgoff_t pgoff, u64 *pfn, int *max_order);
int dma_buf_get_pfn_unlocked(struct dma_buf_attachment *attachment,
			     pgoff_t pgoff, u64 *pfn, int *max_order);

#endif
