// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/lab-vm-kind: writes into a VM without a vCPU what KVM would write on a
 * processor that can encrypt guests. Nothing is encrypted. The mark has a
 * reference on the VM and is undone before the VM ends: otherwise KVM would
 * release processor resources that it never allocated.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "svm.h"

#include "lab_vm_file.h"
#include "lab_vm_kind.h"

struct lab_mark {
	struct mutex lock;
	struct file *vm;	/* NULL: nothing is marked */
	u8 vm_type;		/* the original type */
};

static long lab_mark(struct lab_mark *mark, void __user *argument)
{
	struct lab_vm_kind_mark request;
	struct kvm_sev_info *sev;
	struct kvm *kvm;
	struct file *vm;
	long ret = -EBUSY;

	if (copy_from_user(&request, argument, sizeof(request)))
		return -EFAULT;
	if (request.reserved || request.vm_type > U8_MAX || request.flags & ~(LAB_VM_SEV | LAB_VM_SEV_ES))
		return -EINVAL;
	if (mark->vm)
		return -EBUSY;
	vm = lab_vm_file_get(request.kvm_fd);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	kvm = vm->private_data;
	sev = &to_kvm_svm(kvm)->sev_info;
	if (sev->active || atomic_read(&kvm->online_vcpus))
		goto put;
	ret = -ENOMEM;
	if (!zalloc_cpumask_var(&sev->have_run_cpus, GFP_KERNEL))
		goto put;
	mark->vm = vm;
	mark->vm_type = kvm->arch.vm_type;
	kvm->arch.vm_type = request.vm_type;
	sev->es_active = request.flags & LAB_VM_SEV_ES;
	sev->active = request.flags & LAB_VM_SEV;
	return 0;
put:
	fput(vm);
	return ret;
}

static void lab_unmark(struct lab_mark *mark)
{
	struct kvm *kvm = mark->vm->private_data;
	struct kvm_sev_info *sev = &to_kvm_svm(kvm)->sev_info;

	sev->active = sev->es_active = false;
	kvm->arch.vm_type = mark->vm_type;
	/* Neither KVM's destruction of the VM nor the next mark may find the freed mask. */
	free_cpumask_var(sev->have_run_cpus);
	memset(&sev->have_run_cpus, 0, sizeof(sev->have_run_cpus));
	fput(mark->vm);
}

static long lab_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct lab_mark *mark = file->private_data;
	long ret;

	if (command != LAB_VM_KIND_MARK)
		return -ENOTTY;
	mutex_lock(&mark->lock);
	ret = lab_mark(mark, (void __user *)argument);
	mutex_unlock(&mark->lock);
	return ret;
}

static int lab_open(struct inode *inode, struct file *file)
{
	struct lab_mark *mark = kzalloc(sizeof(*mark), GFP_KERNEL);

	if (!mark)
		return -ENOMEM;
	mutex_init(&mark->lock);
	file->private_data = mark;
	return 0;
}

static int lab_release(struct inode *inode, struct file *file)
{
	struct lab_mark *mark = file->private_data;

	if (mark->vm)
		lab_unmark(mark);
	kfree(mark);
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
	.name = LAB_VM_KIND_NODE,
	.fops = &lab_fops,
	.mode = 0600,
};

module_misc_device(lab_misc);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Marks a VM of the lab as one of another kind");
