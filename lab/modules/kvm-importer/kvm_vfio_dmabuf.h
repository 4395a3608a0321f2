/* SPDX-License-Identifier: GPL-2.0-only */
/* The functions that the tracer probes, with the posted prototypes. */
#ifndef KVM_VFIO_DMABUF_H
#define KVM_VFIO_DMABUF_H

#include <linux/kvm_host.h>

#include "vfio_dma_buf_data.h"

/*
 * The posting stores the attachment in struct kvm_memory_slot. The
 * distribution's struct has no such field, so it is stored next to a slot.
 */
struct lab_slot {
	struct kvm_memory_slot slot;
	struct dma_buf_attachment *dmabuf_attach;
	int stale_ret;
};

extern struct device *lab_kvm_device;

#if LAB_PRIVATE_DIALECT != 3
struct vfio_dma_buf_data *kvm_vfio_dma_buf_get_data(struct dma_buf *dmabuf);
#endif
int kvm_vfio_dmabuf_bind(struct kvm *kvm, struct kvm_memory_slot *slot,
			 unsigned int fd);
void kvm_vfio_dmabuf_unbind(struct kvm_memory_slot *slot);

#endif
