/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef LAB_VM_FILE_H
#define LAB_VM_FILE_H

#include <linux/err.h>
#include <linux/file.h>
#include <linux/kvm_host.h>
#include <linux/module.h>

/*
 * The file of a VM, whose private_data is its struct kvm, to be put again; an
 * error pointer where the descriptor is none. file_is_kvm() is exported to
 * kvm-amd and kvm-intel alone; symbol_get asks for it at run time and also keeps
 * a module loadable on a host without KVM.
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
