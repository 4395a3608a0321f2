// SPDX-License-Identifier: GPL-2.0-only
/*
 * A stand-in for KVM's importer of private MMIO, not the patch. It has the
 * prototypes and the order of checks of the posted RFC "Private MMIO support for
 * private assigned dev", in new code. Nothing is mapped into a guest, and there
 * is no page fault path.
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
static void lab_invalidate_mappings(struct dma_buf_attachment *attach)
{
	struct kvm_vfio_dmabuf *held = attach->importer_priv;

	pr_debug("kvm_vfio_dmabuf_lab: %lu pages invalidated\n",
		 held->slot->npages);
}

/* The exporter rejects an importer without both of these. */
static const struct dma_buf_attach_ops lab_attach_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = lab_invalidate_mappings,
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
