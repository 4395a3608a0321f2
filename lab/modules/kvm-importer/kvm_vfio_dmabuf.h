/* SPDX-License-Identifier: GPL-2.0-only */
/* The functions that the tracer probes, with the posted prototypes. */
#ifndef KVM_VFIO_DMABUF_H
#define KVM_VFIO_DMABUF_H

#include <linux/kvm_host.h>

#include "kvm_vfio_dmabuf_lab.h"
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

/* A memory region with what the lab needs for it. */
struct lab_region {
	struct kvm_userspace_memory_region2 mem;
	struct lab_slot *lab;
	int memslot_ret;
};

extern struct device *lab_kvm_device;

#if LAB_PRIVATE_DIALECT != 3
struct vfio_dma_buf_data *kvm_vfio_dma_buf_get_data(struct dma_buf *dmabuf);
#endif
int kvm_vfio_dmabuf_bind(struct kvm *kvm, struct kvm_memory_slot *slot,
			 unsigned int fd);
void kvm_vfio_dmabuf_unbind(struct kvm_memory_slot *slot);
int kvm_vfio_dmabuf_get_pfn(struct kvm *kvm, struct kvm_memory_slot *slot,
			    gfn_t gfn, kvm_pfn_t *pfn, int *max_order);
void kv_dmabuf_move_notify(struct dma_buf_attachment *attach);
int __kvm_set_memory_region(struct kvm *kvm,
			    const struct kvm_userspace_memory_region2 *mem);

#endif
