/* The lab's stand-in for KVM's private MMIO slots: /dev/kvm-vfio-dmabuf-lab. */
#ifndef LAB_KVM_IMPORTER_H
#define LAB_KVM_IMPORTER_H

#include <stdint.h>

int importer_open(void);
/* A slot id, or -1 and errno. */
int importer_bind(int importer_fd, int kvm_fd, int dmabuf_fd, uint64_t bytes, int32_t stale_ret);
/* 0, or -1 and errno. */
int importer_unbind(int importer_fd, uint32_t slot);

#endif
