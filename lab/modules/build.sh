#!/bin/sh
# Builds the lab's kernel modules for one kernel, in the tree with its headers.
# usage: build.sh KERNEL_RELEASE SOURCE_DIR OUT_DIR
#
#   OUT_DIR/legacy/{vfio-pci-core,iommufd}.ko                   behave as in 6.19 and 7.0, whose modules no archive has
#   OUT_DIR/private-v1/{vfio-pci-core,kvm_vfio_dmabuf_lab}.ko   first posting, with is_private
#   OUT_DIR/private-v2/{vfio-pci-core,kvm_vfio_dmabuf_lab}.ko   second posting, without is_private
#   OUT_DIR/private-amd/{vfio-pci-core,kvm_vfio_dmabuf_lab}.ko  AMD's public trees: as v2, but KVM does not look up the buffer
#   OUT_DIR/iommufd.ko                                          for kernels that are built without it
#   OUT_DIR/cdev/{vfio,vfio_iommu_type1,vfio-pci-core,vfio-pci,iommufd}.ko   VFIO with device files, for the same kernels
#
# It reads SOURCE_DIR (the distribution's kernel source) and writes OUT_DIR.
# CROSS_COMPILE is the prefix of the compiler's tools for another architecture, as in kbuild.
set -eu

fail() {
	echo "build.sh: $1" >&2
	echo "  $2" >&2
	exit 1
}

[ $# -eq 3 ] || fail "needs 3 arguments, got $#" "usage: build.sh KERNEL_RELEASE SOURCE_DIR OUT_DIR"
release=$1 source=$2
here=$(cd "$(dirname "$0")" && pwd)
headers=/lib/modules/$release/build
prefix=${CROSS_COMPILE-}

[ -f "$headers/Makefile" ] ||
	fail "no headers for kernel $release in $headers" "Install linux-headers-$release in this tree."
# Without vmlinux kbuild only prints a notice and skips BTF. The BTF of the running kernel is that of another kernel.
[ -f "$headers/vmlinux" ] ||
	fail "$headers has no vmlinux, so no module can get BTF" "Debian's headers contain a vmlinux with BTF only; reinstall linux-headers-$release."
for tool in make awk pahole readelf "${prefix}gcc" "${prefix}nm"; do
	command -v "$tool" >/dev/null || fail "no $tool in this tree" "Install make, gawk or mawk, pahole, binutils."
done
for path in drivers/vfio/pci/vfio_pci_dmabuf.c drivers/iommu/iommufd/main.c arch/x86/kvm/svm/svm.h lib/interval_tree.c; do
	[ -f "$source/$path" ] ||
		fail "no $path in $source" "Unpack the distribution's linux-source for $release there."
done
mkdir -p "$3"
out=$(cd "$3" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# build DIR MODULE [MAKE-ARGUMENT...]: MODULE can also be a list of modules that use each other's symbols.
# The headers name the compiler that built the kernel, which this tree may not have. CC= selects this tree's compiler.
build() {
	dir=$1 modules=$2
	shift 2
	# shellcheck disable=SC2086 # a list of names without spaces
	make -s -C "$headers" M="$dir" CC="${prefix}gcc" "$@" $(printf '%s.ko ' $modules) >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		fail "$modules did not build (the compiler's output is above)" "Does $source belong to kernel $release?"
	}
}

# deliver FILE DIR FUNCTION...: copies the module to DIR. It must have BTF, and a symbol for each function that the
# tracer probes.
deliver() {
	file=$1 into=$2
	shift 2
	readelf -SW "$file" | grep -q ' \.BTF ' ||
		fail "$(basename "$file") has no .BTF section" "pahole failed or is too old for $release: see $headers/scripts/gen-btf.sh."
	for function; do
		"${prefix}nm" "$file" | grep -q " [Tt] $function\$" ||
			fail "$(basename "$file") has no symbol $function" "The compiler inlined or renamed it: it must be noinline."
	done
	mkdir -p "$into"
	cp "$file" "$into/"
	echo "built $into/$(basename "$file")"
}

# exporter_copy DIR: copies the source of the distribution's vfio-pci-core, to be changed.
exporter_copy() {
	mkdir -p "$1"
	cp "$source"/drivers/vfio/*.h "$1/../"
	cp "$source"/drivers/vfio/pci/*.[ch] "$source/drivers/vfio/pci/Makefile" "$1/"
}

# private_exporter NAME NUMBER
private_exporter() {
	name=$1 number=$2 dir=$work/$1/vfio/pci
	exporter_copy "$dir"
	cp "$here"/private-exporter/*.h "$here"/private-exporter/*.c.inc "$dir/"
	sh "$here/private-exporter/insert.sh" "$dir/vfio_pci_dmabuf.c"
	echo "ccflags-y += -DLAB_PRIVATE_DIALECT=$number" >>"$dir/Makefile"
	build "$dir" vfio-pci-core
	deliver "$dir/vfio-pci-core.ko" "$out/$name" \
		vfio_dma_buf_get_data vfio_pci_core_feature_dma_buf vfio_pci_dma_buf_attach vfio_pci_dma_buf_get_pfn \
		vfio_pci_dma_buf_move
}

legacy_exporter() {
	dir=$work/legacy/vfio/pci
	exporter_copy "$dir"
	cp "$here"/legacy-exporter/*.c.inc "$dir/"
	sh "$here/legacy-exporter/change.sh" "$dir/vfio_pci_dmabuf.c"
	build "$dir" vfio-pci-core
	deliver "$dir/vfio-pci-core.ko" "$out/legacy" \
		vfio_pci_core_feature_dma_buf vfio_pci_dma_buf_attach vfio_pci_dma_buf_pin vfio_pci_dma_buf_move dma_buf_move_notify
}

# kvm_importer NAME NUMBER [FUNCTION...]: FUNCTION is one that not every dialect has.
kvm_importer() {
	name=$1 number=$2 dir=$work/kvm-$1
	shift 2
	mkdir -p "$dir"
	cp "$here"/kvm-importer/* "$here/private-exporter/vfio_dma_buf_data.h" "$here/vm-kind/lab_vm_file.h" "$dir/"
	echo "ccflags-y += -DLAB_PRIVATE_DIALECT=$number" >>"$dir/Kbuild"
	build "$dir" kvm_vfio_dmabuf_lab
	deliver "$dir/kvm_vfio_dmabuf_lab.ko" "$out/$name" __kvm_set_memory_region kvm_vfio_dmabuf_bind \
		kvm_vfio_dmabuf_unbind kvm_vfio_dmabuf_get_pfn kv_dmabuf_move_notify "$@"
}

# iommufd_copy DIR: copies the source of the distribution's iommufd. It needs the span iterator of lib/interval_tree.c,
# which a vmlinux without iommufd does not contain. So the module includes that part of the file; vmlinux exports the rest.
iommufd_copy() {
	mkdir -p "$1"
	cp "$source"/drivers/iommu/*.h "$1/../"
	cp "$source"/drivers/iommu/iommufd/*.[ch] "$source/drivers/iommu/iommufd/Makefile" "$1/"
	{
		echo '#include <linux/interval_tree.h>'
		awk '/^#ifdef CONFIG_INTERVAL_TREE_SPAN_ITER/ { inside = 1; next }
			/^#endif/ { inside = 0 }
			inside && !/^EXPORT_SYMBOL/' "$source/lib/interval_tree.c"
	} >"$1/lab_span_iter.c"
	grep -q 'interval_tree_span_iter_first' "$1/lab_span_iter.c" ||
		fail "no span iterator found in $source/lib/interval_tree.c" "The kernel source changed. fix: change iommufd_copy() in lab/modules/build.sh."
	{
		echo 'iommufd-y += lab_span_iter.o'
		echo 'ccflags-y += -DCONFIG_IOMMUFD_MODULE=1 -DCONFIG_INTERVAL_TREE_SPAN_ITER=1'
		# If the IOMMU translates MSIs (arm64), iommufd calls iommufd_sw_msi_install, which is in driver.c.
		echo 'iommufd-$(CONFIG_IRQ_MSI_IOMMU) += driver.o'
		echo 'ccflags-$(CONFIG_IRQ_MSI_IOMMU) += -DCONFIG_IOMMUFD_DRIVER_CORE=1'
	} >>"$1/Makefile"
}

# iommufd OUT_DIR [CHANGE]: the script CHANGE changes the copy of pages.c before the build.
iommufd() {
	dir=$work/iommu-$(basename "$1")/iommufd
	iommufd_copy "$dir"
	[ $# -eq 1 ] || sh "$2" "$dir/pages.c"
	build "$dir" iommufd CONFIG_IOMMUFD=m
	deliver "$dir/iommufd.ko" "$1" iommufd_ioas_copy iommufd_ioas_map_file iopt_map_pages \
		iopt_map_user_pages iopt_revoke_notify
}

# The distribution's VFIO with CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV. They change struct vfio_device, so every module
# that uses it is rebuilt. The modules use each other's symbols, so one build has them all.
cdev() {
	dir=$work/cdev
	iommufd_copy "$dir/iommufd"
	exporter_copy "$dir/vfio/pci"
	cp "$source"/drivers/vfio/*.c "$source/drivers/vfio/Makefile" "$dir/vfio/"
	for makefile in "$dir/vfio/Makefile" "$dir/vfio/pci/Makefile"; do
		echo 'ccflags-y += -DCONFIG_IOMMUFD_MODULE=1 -DCONFIG_VFIO_DEVICE_CDEV=1' >>"$makefile"
	done
	echo 'obj-m += iommufd/ vfio/' >"$dir/Kbuild"
	build "$dir" 'iommufd/iommufd vfio/vfio vfio/vfio_iommu_type1 vfio/pci/vfio-pci-core vfio/pci/vfio-pci' \
		CONFIG_IOMMUFD=m CONFIG_VFIO_DEVICE_CDEV=y
	deliver "$dir/iommufd/iommufd.ko" "$out/cdev" iommufd_ioas_copy iommufd_ioas_map_file iopt_map_pages \
		iopt_map_user_pages iopt_revoke_notify
	deliver "$dir/vfio/vfio.ko" "$out/cdev" vfio_df_ioctl_bind_iommufd
	deliver "$dir/vfio/vfio_iommu_type1.ko" "$out/cdev"
	deliver "$dir/vfio/pci/vfio-pci-core.ko" "$out/cdev" \
		vfio_pci_core_feature_dma_buf vfio_pci_dma_buf_attach vfio_pci_dma_buf_move
	deliver "$dir/vfio/pci/vfio-pci.ko" "$out/cdev"
}

# The lab's own importers. They need only the headers of dma-buf, RDMA and DRM.
importers() {
	dir=$work/importer
	mkdir -p "$dir"
	cp "$here"/importer/* "$dir/"
	for module in lab_importer lab_rdma_importer lab_drm_importer lab_bars lab_host_bridge; do
		build "$dir" $module
		deliver "$dir/$module.ko" "$out"
	done
}

# lab_vm_kind writes into kvm_amd's struct of a VM. The headers do not declare it, so the source of KVM is copied.
vm_kind() {
	dir=$work/vm-kind
	mkdir -p "$dir"
	cp -r "$here"/vm-kind/* "$source/arch/x86/kvm" "$dir/"
	build "$dir" lab_vm_kind
	deliver "$dir/lab_vm_kind.ko" "$out"
}

for number in 1 2; do
	private_exporter private-v$number $number
	kvm_importer private-v$number $number kvm_vfio_dma_buf_get_data
done
private_exporter private-amd 3
kvm_importer private-amd 3
importers
# The kinds of confidential VM are those of kvm_amd, which only x86 has.
if grep -q '^CONFIG_KVM_AMD=' "$headers/.config"; then vm_kind; fi
legacy_exporter
iommufd "$out"
iommufd "$out/legacy" "$here/legacy-exporter/iommufd.sh"
cdev
