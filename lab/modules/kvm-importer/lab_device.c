// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/kvm-vfio-dmabuf-lab: passes the lab's memory slots to the importer. It
 * replaces KVM_SET_USER_MEMORY_REGION2 with the posted dma-buf flag, which the
 * distribution's kvm.ko does not have.
 */
#include <linux/device/faux.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "kvm_vfio_dmabuf.h"
#include "kvm_vfio_dmabuf_lab.h"
#include "lab_vm_file.h"

struct device *lab_kvm_device;
static struct faux_device *lab_kvm_faux;

struct lab_file {
	struct mutex lock;
	struct xarray slots;
};

/* A bound slot has a reference on its VM, because a memory slot never outlives its VM. */
struct lab_binding {
	struct lab_slot lab;
	struct file *kvm_file;
};

/* Where each slot is in its guest; nothing is there. */
#define LAB_SLOT_ADDRESS 0x100000000ULL

static void binding_free(struct lab_binding *binding)
{
	kvm_vfio_dmabuf_unbind(&binding->lab.slot);
	fput(binding->kvm_file);
	kfree(binding);
}

static long lab_bind(struct lab_file *owner, void __user *argument)
{
	struct kvm_vfio_dmabuf_lab_bind request;
	struct lab_region region = { 0 };
	struct lab_binding *binding;
	u32 id;
	int ret;

	if (copy_from_user(&request, argument, sizeof(request)))
		return -EFAULT;
	if (request.reserved || !request.bytes || !PAGE_ALIGNED(request.bytes))
		return -EINVAL;

	binding = kzalloc(sizeof(*binding), GFP_KERNEL);
	if (!binding)
		return -ENOMEM;

	binding->kvm_file = lab_vm_file_get(request.kvm_fd);
	if (IS_ERR(binding->kvm_file)) {
		ret = PTR_ERR(binding->kvm_file);
		goto free;
	}

	binding->lab.stale_ret = request.stale_ret;
	region.mem.flags = request.flags;
	region.mem.guest_phys_addr = LAB_SLOT_ADDRESS;
	region.mem.memory_size = request.bytes;
	region.mem.guest_memfd_offset = request.region_offset;
	region.mem.guest_memfd = request.dmabuf_fd;
	region.lab = &binding->lab;
	region.memslot_ret = request.memslot_ret;
	ret = __kvm_set_memory_region(binding->kvm_file->private_data, &region.mem);
	if (ret) {
		/* KVM's caller treats a stale positive value as a failure too. */
		ret = ret > 0 ? -EPROTO : ret;
		goto put;
	}

	ret = xa_alloc(&owner->slots, &id, binding, XA_LIMIT(0, INT_MAX),
		       GFP_KERNEL);
	if (ret) {
		binding_free(binding);
		return ret;
	}
	return id;

put:
	fput(binding->kvm_file);
free:
	kfree(binding);
	return ret;
}

static long lab_unbind(struct lab_file *owner, void __user *argument)
{
	struct kvm_vfio_dmabuf_lab_unbind request;
	struct lab_binding *binding;

	if (copy_from_user(&request, argument, sizeof(request)))
		return -EFAULT;
	if (request.reserved)
		return -EINVAL;

	binding = xa_erase(&owner->slots, request.slot);
	if (!binding)
		return -ENOENT;
	binding_free(binding);
	return 0;
}

static long lab_fault(struct lab_file *owner, void __user *argument)
{
	struct kvm_vfio_dmabuf_lab_fault request;
	struct lab_binding *binding;
	int max_order;
	kvm_pfn_t pfn;

	if (copy_from_user(&request, argument, sizeof(request)))
		return -EFAULT;
	if (request.reserved || !PAGE_ALIGNED(request.offset))
		return -EINVAL;

	binding = xa_load(&owner->slots, request.slot);
	if (!binding)
		return -ENOENT;
	return kvm_vfio_dmabuf_get_pfn(binding->kvm_file->private_data,
				       &binding->lab.slot,
				       binding->lab.slot.base_gfn + (request.offset >> PAGE_SHIFT),
				       &pfn, &max_order);
}

static long lab_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct lab_file *owner = file->private_data;
	long ret;

	mutex_lock(&owner->lock);
	switch (command) {
	case KVM_VFIO_DMABUF_LAB_BIND:
		ret = lab_bind(owner, (void __user *)argument);
		break;
	case KVM_VFIO_DMABUF_LAB_UNBIND:
		ret = lab_unbind(owner, (void __user *)argument);
		break;
	case KVM_VFIO_DMABUF_LAB_FAULT:
		ret = lab_fault(owner, (void __user *)argument);
		break;
	default:
		ret = -ENOTTY;
	}
	mutex_unlock(&owner->lock);
	return ret;
}

static int lab_open(struct inode *inode, struct file *file)
{
	struct lab_file *owner = kzalloc(sizeof(*owner), GFP_KERNEL);

	if (!owner)
		return -ENOMEM;
	mutex_init(&owner->lock);
	xa_init_flags(&owner->slots, XA_FLAGS_ALLOC);
	file->private_data = owner;
	return 0;
}

static int lab_release(struct inode *inode, struct file *file)
{
	struct lab_file *owner = file->private_data;
	struct lab_binding *binding;
	unsigned long id;

	xa_for_each(&owner->slots, id, binding)
		binding_free(binding);
	xa_destroy(&owner->slots);
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
	.name = KVM_VFIO_DMABUF_LAB_NODE,
	.fops = &lab_fops,
	.mode = 0600,
};

static int __init lab_init(void)
{
	int ret;

	lab_kvm_faux = faux_device_create("kvm", NULL, NULL);
	if (!lab_kvm_faux)
		return -ENODEV;
	lab_kvm_device = &lab_kvm_faux->dev;

	ret = misc_register(&lab_misc);
	if (ret)
		faux_device_destroy(lab_kvm_faux);
	return ret;
}

static void __exit lab_exit(void)
{
	misc_deregister(&lab_misc);
	faux_device_destroy(lab_kvm_faux);
}

module_init(lab_init);
module_exit(lab_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Lab stand-in for KVM's importer of VFIO dma-bufs (posted RFC)");
