// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/lab-rdma-importer: makes memory regions of dma-bufs through the
 * distribution's ib_core, as an RDMA driver does. Its ib_device is not
 * registered, because ib_umem only reads its dma_device.
 */
#include <linux/device/faux.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>
#include <rdma/ib_umem.h>
#include <rdma/ib_verbs.h>

#include "lab_importer.h"
#include "lab_target.h"

MODULE_IMPORT_NS("DMA_BUF");

struct region {
	struct ib_device *ibdev;
	struct ib_umem_dmabuf *umem;
	struct device *device;
};

static DEFINE_MUTEX(lab_lock);
static struct faux_device *lab_faux;

/* As for mlx5's on-demand regions: unmaps here, and the next fault remaps. */
static void invalidate(struct dma_buf_attachment *attach)
{
	ib_umem_dmabuf_unmap_pages(attach->importer_priv);
}

static const struct dma_buf_attach_ops lab_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = invalidate,
};

static void nothing(void *private)
{
}

static struct ib_umem_dmabuf *make(struct ib_device *ibdev, const struct lab_rdma_get *request)
{
	struct ib_umem_dmabuf *umem;

	switch (request->kind) {
	case LAB_RDMA_DYNAMIC:
		return ib_umem_dmabuf_get(ibdev, request->offset, request->length,
					  request->dmabuf_fd, IB_ACCESS_LOCAL_WRITE, &lab_ops);
	case LAB_RDMA_PINNED:
		return ib_umem_dmabuf_get_pinned(ibdev, request->offset, request->length,
						 request->dmabuf_fd, IB_ACCESS_LOCAL_WRITE);
	case LAB_RDMA_REVOCABLE:
		umem = ib_umem_dmabuf_get_pinned_revocable_and_lock(ibdev, request->offset,
								    request->length,
								    request->dmabuf_fd,
								    IB_ACCESS_LOCAL_WRITE);
		if (!IS_ERR(umem)) {
			ib_umem_dmabuf_set_revoke_locked(umem, nothing, NULL);
			ib_umem_dmabuf_revoke_unlock(umem);
		}
		return umem;
	}
	return ERR_PTR(-ENOTTY);
}

static void region_free(struct region *region)
{
	if (region->umem)
		ib_umem_release(&region->umem->umem);
	put_device(region->device);
	kfree(region->ibdev);
	kfree(region);
}

static long lab_get(struct xarray *regions, void __user *argument)
{
	struct lab_rdma_get request;
	struct region *region;
	struct device *device;
	long ret;
	u32 id;

	if (copy_from_user(&request, argument, sizeof(request)))
		return -EFAULT;
	if (request.device[sizeof(request.device) - 1])
		return -EINVAL;
	device = lab_target_get(request.device, &lab_faux->dev);
	if (IS_ERR(device))
		return PTR_ERR(device);
	region = kzalloc(sizeof(*region), GFP_KERNEL);
	if (!region) {
		put_device(device);
		return -ENOMEM;
	}
	region->device = device;
	ret = -ENOMEM;
	region->ibdev = kzalloc(sizeof(*region->ibdev), GFP_KERNEL);
	if (!region->ibdev)
		goto free;
	region->ibdev->dma_device = device;
	region->umem = make(region->ibdev, &request);
	if (IS_ERR(region->umem)) {
		ret = PTR_ERR(region->umem);
		region->umem = NULL;
		goto free;
	}
	ret = xa_alloc(regions, &id, region, XA_LIMIT(0, INT_MAX), GFP_KERNEL);
	if (!ret)
		return id;
free:
	region_free(region);
	return ret;
}

static long lab_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct xarray *regions = file->private_data;
	struct region *region;
	long ret;
	u32 id;

	guard(mutex)(&lab_lock);
	if (command == LAB_RDMA_GET)
		return lab_get(regions, (void __user *)argument);
	if (get_user(id, (u32 __user *)argument))
		return -EFAULT;
	region = command == LAB_RDMA_RELEASE ? xa_erase(regions, id) : xa_load(regions, id);
	if (!region)
		return -ENOENT;
	switch (command) {
	case LAB_RDMA_MAP:
		ib_umem_dmabuf_revoke_lock(region->umem);
		ret = ib_umem_dmabuf_map_pages(region->umem);
		ib_umem_dmabuf_revoke_unlock(region->umem);
		return ret;
	case LAB_RDMA_RELEASE:
		region_free(region);
		return 0;
	}
	return -ENOTTY;
}

static int lab_open(struct inode *inode, struct file *file)
{
	struct xarray *regions = kzalloc(sizeof(*regions), GFP_KERNEL);

	if (!regions)
		return -ENOMEM;
	xa_init_flags(regions, XA_FLAGS_ALLOC);
	file->private_data = regions;
	return 0;
}

static int lab_release(struct inode *inode, struct file *file)
{
	struct xarray *regions = file->private_data;
	struct region *region;
	unsigned long id;

	xa_for_each(regions, id, region)
		region_free(region);
	xa_destroy(regions);
	kfree(regions);
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
	.name = LAB_RDMA_IMPORTER_NODE,
	.fops = &lab_fops,
	.mode = 0600,
};

static int __init lab_init(void)
{
	int ret;

	lab_faux = faux_device_create("lab_rdma", NULL, NULL);
	if (!lab_faux)
		return -ENODEV;
	ret = misc_register(&lab_misc);
	if (ret)
		faux_device_destroy(lab_faux);
	return ret;
}

static void __exit lab_exit(void)
{
	misc_deregister(&lab_misc);
	faux_device_destroy(lab_faux);
}

module_init(lab_init);
module_exit(lab_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Lab importer of dma-bufs through RDMA's ib_umem");
