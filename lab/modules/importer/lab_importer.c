// SPDX-License-Identifier: GPL-2.0-only
/*
 * An importer of dma-bufs. /dev/lab-importer has an ioctl for each importer call
 * of the dma-buf core, as a GPU, NIC or camera driver would make them. It is also
 * a PCI driver without a device table: driver_override binds it, so that a real
 * PCI device can be the importer.
 */
#include <linux/delay.h>
#include <linux/device/faux.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/iosys-map.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "lab_importer.h"
#include "lab_target.h"

MODULE_IMPORT_NS("DMA_BUF");

struct held {
	struct dma_buf *dmabuf;
	struct dma_buf_attachment *attach;
	struct device *device;
	struct dma_buf_attach_ops ops;
	struct sg_table *sgt;		/* under the reservation lock, as pinned */
	bool is_static, pinned;
	u32 hold_ms;
	struct delayed_work late_unmap;
};

struct lab_file {
	struct mutex lock;
	struct xarray held;
};

static struct faux_device *lab_faux;

/* A static importer maps without the reservation lock; the core acquires it. */
static int held_map(struct held *held)
{
	struct sg_table *sgt;

	if (held->is_static) {
		sgt = dma_buf_map_attachment_unlocked(held->attach, DMA_BIDIRECTIONAL);
	} else {
		dma_resv_lock(held->dmabuf->resv, NULL);
		sgt = held->sgt ? ERR_PTR(-EBUSY) :
				  dma_buf_map_attachment(held->attach, DMA_BIDIRECTIONAL);
		dma_resv_unlock(held->dmabuf->resv);
	}
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	held->sgt = sgt;
	return 0;
}

static void held_unmap_locked(struct held *held)
{
	if (!held->sgt)
		return;
	dma_buf_unmap_attachment(held->attach, held->sgt, DMA_BIDIRECTIONAL);
	held->sgt = NULL;
}

static void held_unmap(struct held *held)
{
	dma_resv_lock(held->dmabuf->resv, NULL);
	held_unmap_locked(held);
	dma_resv_unlock(held->dmabuf->resv);
}

static void late_unmap(struct work_struct *work)
{
	held_unmap(container_of(to_delayed_work(work), struct held, late_unmap));
}

/* A revocation calls this with the reservation locked. Unmaps now, or after hold_ms. */
static void invalidate(struct dma_buf_attachment *attach)
{
	struct held *held = attach->importer_priv;

	if (held->hold_ms)
		schedule_delayed_work(&held->late_unmap, msecs_to_jiffies(held->hold_ms));
	else
		held_unmap_locked(held);
}

static void held_free(struct held *held)
{
	cancel_delayed_work_sync(&held->late_unmap);
	held_unmap(held);
	if (held->pinned) {
		dma_resv_lock(held->dmabuf->resv, NULL);
		dma_buf_unpin(held->attach);
		dma_resv_unlock(held->dmabuf->resv);
	}
	dma_buf_detach(held->dmabuf, held->attach);
	dma_buf_put(held->dmabuf);
	put_device(held->device);
	kfree(held);
}

static long lab_attach(struct lab_file *owner, void __user *argument)
{
	struct lab_importer_attach request;
	struct held *held;
	u32 id;
	long ret;

	if (copy_from_user(&request, argument, sizeof(request)))
		return -EFAULT;
	if (request.reserved || request.device[sizeof(request.device) - 1])
		return -EINVAL;
	held = kzalloc(sizeof(*held), GFP_KERNEL);
	if (!held)
		return -ENOMEM;
	INIT_DELAYED_WORK(&held->late_unmap, late_unmap);
	held->hold_ms = request.hold_ms;
	held->is_static = !(request.flags & LAB_IMPORTER_DYNAMIC);
	held->ops.allow_peer2peer = request.flags & LAB_IMPORTER_PEER2PEER;
	if (request.flags & LAB_IMPORTER_INVALIDATE)
		held->ops.invalidate_mappings = invalidate;

	held->device = lab_target_get(request.device, &lab_faux->dev);
	if (IS_ERR(held->device)) {
		ret = PTR_ERR(held->device);
		goto free;
	}
	held->dmabuf = dma_buf_get(request.dmabuf_fd);
	if (IS_ERR(held->dmabuf)) {
		ret = PTR_ERR(held->dmabuf);
		goto put_device;
	}
	if (held->is_static)
		held->attach = dma_buf_attach(held->dmabuf, held->device);
	else
		held->attach = dma_buf_dynamic_attach(held->dmabuf, held->device, &held->ops, held);
	if (IS_ERR(held->attach)) {
		ret = PTR_ERR(held->attach);
		goto put_buffer;
	}
	ret = xa_alloc(&owner->held, &id, held, XA_LIMIT(0, INT_MAX), GFP_KERNEL);
	if (!ret)
		return id;
	dma_buf_detach(held->dmabuf, held->attach);
put_buffer:
	dma_buf_put(held->dmabuf);
put_device:
	put_device(held->device);
free:
	kfree(held);
	return ret;
}

static long lab_vmap(s32 fd)
{
	struct dma_buf *dmabuf = dma_buf_get(fd);
	struct iosys_map map;
	int ret;

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	ret = dma_buf_vmap_unlocked(dmabuf, &map);
	if (!ret)
		dma_buf_vunmap_unlocked(dmabuf, &map);
	dma_buf_put(dmabuf);
	return ret;
}

static long lab_pin(struct held *held, bool pin)
{
	long ret = 0;

	if (held->is_static || held->pinned == pin)
		return -EINVAL;
	dma_resv_lock(held->dmabuf->resv, NULL);
	if (pin)
		ret = dma_buf_pin(held->attach);
	else
		dma_buf_unpin(held->attach);
	if (!ret)
		held->pinned = pin;
	dma_resv_unlock(held->dmabuf->resv);
	return ret;
}

static long lab_step(struct lab_file *owner, unsigned int command, void __user *argument)
{
	struct held *held;
	u32 id;

	if (get_user(id, (u32 __user *)argument))
		return -EFAULT;
	if (command == LAB_IMPORTER_VMAP)
		return lab_vmap((s32)id);
	held = command == LAB_IMPORTER_DETACH ? xa_erase(&owner->held, id) : xa_load(&owner->held, id);
	if (!held)
		return -ENOENT;
	switch (command) {
	case LAB_IMPORTER_PIN:
		return lab_pin(held, true);
	case LAB_IMPORTER_UNPIN:
		return lab_pin(held, false);
	case LAB_IMPORTER_MAP:
		return held_map(held);
	case LAB_IMPORTER_UNMAP:
		held_unmap(held);
		return 0;
	case LAB_IMPORTER_DETACH:
		held_free(held);
		return 0;
	}
	return -ENOTTY;
}

static long lab_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct lab_file *owner = file->private_data;
	long ret;

	mutex_lock(&owner->lock);
	if (command == LAB_IMPORTER_ATTACH)
		ret = lab_attach(owner, (void __user *)argument);
	else
		ret = lab_step(owner, command, (void __user *)argument);
	mutex_unlock(&owner->lock);
	return ret;
}

static int lab_open(struct inode *inode, struct file *file)
{
	struct lab_file *owner = kzalloc(sizeof(*owner), GFP_KERNEL);

	if (!owner)
		return -ENOMEM;
	mutex_init(&owner->lock);
	xa_init_flags(&owner->held, XA_FLAGS_ALLOC);
	file->private_data = owner;
	return 0;
}

static int lab_release(struct inode *inode, struct file *file)
{
	struct lab_file *owner = file->private_data;
	struct held *held;
	unsigned long id;

	xa_for_each(&owner->held, id, held)
		held_free(held);
	xa_destroy(&owner->held);
	kfree(owner);
	return 0;
}

static const struct file_operations lab_fops = {
	.owner = THIS_MODULE,
	.open = lab_open,
	.release = lab_release,
	.unlocked_ioctl = lab_ioctl,
};

static struct miscdevice lab_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = LAB_IMPORTER_NODE,
	.fops = &lab_fops,
	.mode = 0600,
};

static int lab_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return 0;
}

/* The driver does no DMA, so VFIO may own other devices of the IOMMU group. */
static struct pci_driver lab_driver = {
	.name = "lab_importer",
	.probe = lab_probe,
	.driver_managed_dma = true,
};

static int __init lab_init(void)
{
	int ret;

	lab_faux = faux_device_create("lab_importer", NULL, NULL);
	if (!lab_faux)
		return -ENODEV;
	ret = pci_register_driver(&lab_driver);
	if (ret)
		goto faux;
	ret = misc_register(&lab_misc);
	if (!ret)
		return 0;
	pci_unregister_driver(&lab_driver);
faux:
	faux_device_destroy(lab_faux);
	return ret;
}

static void __exit lab_exit(void)
{
	misc_deregister(&lab_misc);
	pci_unregister_driver(&lab_driver);
	faux_device_destroy(lab_faux);
}

module_init(lab_init);
module_exit(lab_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Lab importer of dma-bufs");
