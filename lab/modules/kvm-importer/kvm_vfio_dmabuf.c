// SPDX-License-Identifier: GPL-2.0-only
/*
 * A stand-in for KVM's importer of private MMIO, not the patch. It has the
 * prototypes and the order of checks of the posted RFC "Private MMIO support for
 * private assigned dev", in new code. Nothing is mapped into a guest: a fault ends
 * with the number of the page.
 *
 * The traced functions are neither static nor inlined, so that the tracer finds
 * them in BTF.
 */
#include <linux/dma-buf.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "kvm_vfio_dmabuf.h"

MODULE_IMPORT_NS("DMA_BUF");

/* importer_priv of the attachment, as posted: the VM and slot of this buffer. */
struct kvm_vfio_dmabuf {
	struct kvm *kvm;
	struct kvm_memory_slot *slot;
};

/* KVM would zap the guest's range here. No guest maps this slot, so this does nothing. */
noinline void kv_dmabuf_move_notify(struct dma_buf_attachment *attach)
{
	struct kvm_vfio_dmabuf *held = attach->importer_priv;

	pr_debug("kvm_vfio_dmabuf_lab: %lu pages invalidated\n",
		 held->slot->npages);
}

/* The exporter rejects an importer without both of these. */
static const struct dma_buf_attach_ops lab_attach_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = kv_dmabuf_move_notify,
};

#if LAB_PRIVATE_DIALECT != 3
noinline struct vfio_dma_buf_data *
kvm_vfio_dma_buf_get_data(struct dma_buf *dmabuf)
{
	typeof(&vfio_dma_buf_get_data) get_data;
	struct vfio_dma_buf_data *data;

	/* symbol_get as posted: KVM must not depend on vfio-pci-core. */
	get_data = symbol_get(vfio_dma_buf_get_data);
	if (!get_data)
		return ERR_PTR(-ENOENT);
	data = get_data(dmabuf);
	symbol_put(vfio_dma_buf_get_data);
	return data;
}

static bool acceptable(const struct vfio_dma_buf_data *data,
		       const struct kvm *kvm)
{
#if LAB_PRIVATE_DIALECT == 1
	if (!data->is_private)
		return false;
#endif
	return data->kvm == kvm;
}
#endif

noinline int kvm_vfio_dmabuf_bind(struct kvm *kvm, struct kvm_memory_slot *slot,
				  unsigned int fd)
{
	struct lab_slot *lab = container_of(slot, struct lab_slot, slot);
	struct dma_buf_attachment *attach;
	struct kvm_vfio_dmabuf *held;
	struct dma_buf *dmabuf;
#if LAB_PRIVATE_DIALECT != 3
	struct vfio_dma_buf_data *data;
#endif
	/*
	 * The posted code leaves this unset when the lookup below fails, so the
	 * bind of a foreign buffer may report success. The lab reproduces that
	 * bug with a value that the caller sets.
	 */
	int ret = lab->stale_ret;

	dmabuf = dma_buf_get(fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	if (dmabuf->size != slot->npages << PAGE_SHIFT) {
		ret = -EINVAL;
		goto put;
	}

#if LAB_PRIVATE_DIALECT != 3
	data = kvm_vfio_dma_buf_get_data(dmabuf);
	if (IS_ERR(data))
		goto put;

	if (!acceptable(data, kvm)) {
		ret = -EINVAL;
		goto put;
	}
#endif

	held = kzalloc(sizeof(*held), GFP_KERNEL);
	if (!held) {
		ret = -ENOMEM;
		goto put;
	}
	held->kvm = kvm;
	held->slot = slot;

	/* The posting passes no device. Mainline rejects that, so the lab has one named "kvm". */
	attach = dma_buf_dynamic_attach(dmabuf, lab_kvm_device, &lab_attach_ops,
					held);
	if (IS_ERR(attach)) {
		ret = PTR_ERR(attach);
		kfree(held);
		goto put;
	}

	lab->dmabuf_attach = attach;
	return 0;

put:
	dma_buf_put(dmabuf);
	return ret;
}

noinline void kvm_vfio_dmabuf_unbind(struct kvm_memory_slot *slot)
{
	struct lab_slot *lab = container_of(slot, struct lab_slot, slot);
	struct dma_buf_attachment *attach = lab->dmabuf_attach;
	struct kvm_vfio_dmabuf *held;
	struct dma_buf *dmabuf;

	/*
	 * A bind that wrongly reported success leaves a slot without an
	 * attachment. The posting warns here. The lab does not, so that each
	 * warning in its log means a fault.
	 */
	if (!attach)
		return;

	held = attach->importer_priv;
	dmabuf = attach->dmabuf;
	dma_buf_detach(dmabuf, attach);
	kfree(held);
	dma_buf_put(dmabuf);
	lab->dmabuf_attach = NULL;
}

/* KVM calls it for a fault of the guest. As posted, all errors of the exporter become one. */
noinline int kvm_vfio_dmabuf_get_pfn(struct kvm *kvm, struct kvm_memory_slot *slot,
				     gfn_t gfn, kvm_pfn_t *pfn, int *max_order)
{
	struct lab_slot *lab = container_of(slot, struct lab_slot, slot);
	struct dma_buf_attachment *attach = lab->dmabuf_attach;
	typeof(&dma_buf_get_pfn_unlocked) get_pfn;
	int ret;

	/* The posting warns here; see kvm_vfio_dmabuf_unbind(). */
	if (!attach)
		return -EFAULT;

	/* The core has this function in the posting. In the lab the exporter has it. */
	get_pfn = symbol_get(dma_buf_get_pfn_unlocked);
	if (!get_pfn)
		return -EIO;
	ret = get_pfn(attach, gfn - slot->base_gfn, pfn, max_order);
	symbol_put(dma_buf_get_pfn_unlocked);
	return ret ? -EIO : 0;
}

/* The posted flags that a slot with a dma-buf must not have. */
static int check_memory_region_flags(const struct kvm_userspace_memory_region2 *mem)
{
	return mem->flags == KVM_MEM_VFIO_DMABUF ? 0 : -EINVAL;
}

/*
 * The posted part of KVM_SET_USER_MEMORY_REGION2 that is about a dma-buf. The first
 * posting uses this name. The later name is that of a function in the
 * distribution's kvm.ko, which the tracer would find first.
 *
 * The posting also rejects a VM without private memory. The lab's VMs have none,
 * so this does not.
 */
noinline int __kvm_set_memory_region(struct kvm *kvm,
				     const struct kvm_userspace_memory_region2 *mem)
{
	const struct lab_region *region = container_of(mem, struct lab_region, mem);
	struct kvm_memory_slot *slot = &region->lab->slot;
	int ret;

	ret = check_memory_region_flags(mem);
	if (ret)
		return ret;
	if (mem->guest_memfd_offset)
		return -EINVAL;

	slot->base_gfn = mem->guest_phys_addr >> PAGE_SHIFT;
	slot->npages = mem->memory_size >> PAGE_SHIFT;
	ret = kvm_vfio_dmabuf_bind(kvm, slot, mem->guest_memfd);
	if (ret)
		return ret;

	/* KVM would insert the slot here. */
	ret = region->memslot_ret;
	if (ret)
		kvm_vfio_dmabuf_unbind(slot);
	return ret;
}
