// The constants of the fragments and snippets. The composer writes the value in place of the name. A text in quotes is
// the first 8 bytes of a name, as the number that *(uint64 *)name reads on a little-endian machine.
//
// Defined elsewhere: TAG_... follows from the declarations. REASON_..., STAGE_..., PRIVACY_..., CAUSE_..., READER_...,
// VIOLATION_..., ROUTE_..., VM_KIND_..., LAST_BUCKET and WALKED_ATTACHMENTS follow from server/src/protocol/codes.ts. NEVER is
// later than any time of any clock. PAGE_SIZE is that of the host.

// include/uapi/asm-generic/errno-base.h and errno.h
#define EPERM 1
#define EINTR 4
#define EIO 5
#define EBADF 9
#define ENOMEM 12
#define EFAULT 14
#define ENODEV 19
#define EINVAL 22
#define ENFILE 23
#define EMFILE 24
#define ENOSYS 38
#define EOVERFLOW 75
#define EOPNOTSUPP 95

// include/linux/errno.h: user space never gets it.
#define ERESTARTSYS 512

// include/linux/err.h: errnos end before MAX_ERRNO + 1. A greater pointer is an error (IS_ERR).
#define ERRNO_END 4096
#define LAST_VALID_POINTER 0xfffffffffffff000

// include/uapi/linux/vfio.h: VFIO_DEVICE_RESET is _IO(';', 111), VFIO_DEVICE_PCI_HOT_RESET is _IO(';', 113).
#define VFIO_DEVICE_RESET 0x3b6f
#define VFIO_DEVICE_PCI_HOT_RESET 0x3b71
#define VFIO_DEVICE_FEATURE_GET 0x10000
#define VFIO_DEVICE_FEATURE_GET_OR_SET 0x30000
#define VFIO_DEVICE_FEATURE_PROBE 0x40000

// The posted patches: a flag of struct kvm_userspace_memory_region2.
#define KVM_MEM_VFIO_DMABUF 0x8

// What a bind leaves for the end of the call that makes its memory slot.
#define BIND_ACCEPTED 1
#define BIND_REJECTED 2

// The calls that can be inside one another, from the outermost (README.md, Layers).
#define LAYER_SLOT 1
#define LAYER_IMPORTER 2
#define LAYER_CORE 3

// include/linux/ioport.h: the resource is memory.
#define IORESOURCE_MEM 0x200

// include/linux/pci.h
#define PCI_STD_NUM_BARS 6

// drivers/vfio/pci/nvgrace-gpu/main.c: BAR 2 and BAR 4.
#define RESMEM_REGION_INDEX 2
#define USEMEM_REGION_INDEX 4

// include/linux/mm.h: the mapping has page frames without struct page, as every BAR has.
#define VM_PFNMAP 0x400

// include/linux/maple_tree.h, include/linux/xarray.h: the tag of the root, and the type of a node in the bits 3 to 6 of its entry.
#define MAPLE_TAG 3
#define MAPLE_IS_NODE 2
#define MAPLE_NODE_MASK 255
#define MAPLE_TYPE_SHIFT 3
#define MAPLE_TYPE_MASK 15
#define MAPLE_LEAF_64 1
#define MAPLE_ARANGE_64 3
// A process with 33,000 mappings needed 39 steps. With bpftrace 0.27 the verifier rejects 80 steps (too many states).
#define MAPLE_STEPS 48

// drivers/iommu/iommufd/io_pagetable.h: the pages are a dma-buf.
#define IOPT_ADDRESS_DMABUF 2

// Names of exporters, importers and drivers.
#define NAME_VFIO_PCI "vfio_pci_core"
#define NAME_KVM "kvm"
// The misc device with which iommufd attaches.
#define NAME_IOMMU "iommu"
// The driver of devices without hardware (drivers/base/faux.c).
#define NAME_FAUX_DRIVER "faux_driver"
// The file of a device: by its group, or a character device vfioN.
#define NAME_VFIO_DEVICE_FILE "[vfio-device]"
#define NAME_VFIO "vfio"
#define NAME_NVGRACE "nvgrace_gpu_vfio_pci"

// include/linux/limits.h
#define U32_MAX 0xffffffff

// All supported kernels have 64 bits.
#define POINTER_BYTES 8

// An argument of type bool is the low byte of its register.
#define LOW_BYTE 255

// The most ranges of an export that the probe reads, because bpftrace unrolls the loop.
#define RANGES_READ 8

// Bytes of the names in an event.
#define IMPORTER_BYTES 32
#define DEVICE_BYTES 48

// No call takes a minute. So a pin that is older than a minute is of a call whose return was missed.
#define PIN_NS 60000000000

// One byte, eight times.
#define EACH_BYTE_0X01 0x0101010101010101
#define EACH_BYTE_0X80 0x8080808080808080
