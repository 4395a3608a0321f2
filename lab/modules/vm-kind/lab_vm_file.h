/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef LAB_VM_FILE_H
#define LAB_VM_FILE_H

#include <linux/err.h>
#include <linux/file.h>
#include <linux/kvm_host.h>
#include <linux/module.h>

/*
 * Returns the file of a VM with a reference; its private_data is the struct kvm.
 * Returns an error pointer if the descriptor is not a VM. file_is_kvm() is
 * exported only to kvm-amd and kvm-intel, so symbol_get finds it at run time. The
 * module can then also load on a host without KVM.
 */
static inline struct file *lab_vm_file_get(int fd)
{
	typeof(&file_is_kvm) check;
	struct file *file = fget(fd);
	bool yes = false;

	if (!file)
		return ERR_PTR(-EBADF);
	check = symbol_get(file_is_kvm);
	if (check) {
		yes = check(file);
		symbol_put(file_is_kvm);
	}
	if (yes)
		return file;
	fput(file);
	return ERR_PTR(-EINVAL);
}

#endif
