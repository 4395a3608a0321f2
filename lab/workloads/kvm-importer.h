/* The lab's stand-in for KVM's private MMIO slots: /dev/kvm-vfio-dmabuf-lab. */
#ifndef LAB_KVM_IMPORTER_H
#define LAB_KVM_IMPORTER_H

#include <stdint.h>

#include "kvm_vfio_dmabuf_lab.h"

int importer_open(void);
/* A slot id, or -1 and errno. */
int importer_bind(int importer_fd, const struct kvm_vfio_dmabuf_lab_bind *bind);
/* 0, or -1 and errno. */
int importer_unbind(int importer_fd, uint32_t slot);
/* 0, or -1 and errno. The offset is bytes from the start of the slot. */
int importer_fault(int importer_fd, uint32_t slot, uint64_t offset);

#endif
