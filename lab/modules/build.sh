#!/bin/sh
# Builds the lab's kernel modules for one kernel, inside the tree that has its headers.
# usage: build.sh KERNEL_RELEASE SOURCE_DIR OUT_DIR
#
#   OUT_DIR/legacy/{vfio-pci-core,iommufd}.ko                   as in 6.19 and 7.0, whose modules no archive has
#   OUT_DIR/private-v1/{vfio-pci-core,kvm_vfio_dmabuf_lab}.ko   first posting, with is_private
#   OUT_DIR/private-v2/{vfio-pci-core,kvm_vfio_dmabuf_lab}.ko   second posting, without it
#   OUT_DIR/private-amd/{vfio-pci-core,kvm_vfio_dmabuf_lab}.ko  AMD's public trees: as v2, but KVM does not look the buffer up
#   OUT_DIR/iommufd.ko                                          where the distribution leaves it out
#
# SOURCE_DIR (the distribution's kernel source) is read only; OUT_DIR is only written.
# CROSS_COMPILE is the prefix of the compiler's tools where the kernel is for another processor, as in kbuild.
set -eu

fail() {
	echo "build.sh: $1" >&2
	echo "  $2" >&2
	exit 1
}

[ $# -eq 3 ] || fail "wants 3 arguments, got $#" "usage: build.sh KERNEL_RELEASE SOURCE_DIR OUT_DIR"
release=$1 source=$2
here=$(cd "$(dirname "$0")" && pwd)
headers=/lib/modules/$release/build
prefix=${CROSS_COMPILE-}

[ -f "$headers/Makefile" ] ||
	fail "no headers for kernel $release in $headers" "Install linux-headers-$release in this tree."
# Without it kbuild skips BTF with a mere notice; the running kernel's BTF would be another kernel's.
[ -f "$headers/vmlinux" ] ||
	fail "$headers has no vmlinux, so no module can get BTF" "Debian's headers carry a BTF-only vmlinux; reinstall linux-headers-$release."
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

# build DIR MODULE [MAKE-ARGUMENT...]
# The headers name the compiler that built the kernel, which this tree need not have; modules of its own make do.
build() {
	dir=$1 module=$2
	shift 2
	make -s -C "$headers" M="$dir" CC="${prefix}gcc" "$@" "$module.ko" >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		fail "$module.ko did not build (the compiler's words are above)" "Does $source belong to kernel $release?"
	}
}

# deliver FILE DIR FUNCTION...: every function that is to be traced must have a symbol and the module its BTF.
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

# exporter_copy DIR: a copy of the distribution's vfio-pci-core to be changed.
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
		vfio_dma_buf_get_data vfio_pci_core_feature_dma_buf vfio_pci_dma_buf_attach vfio_pci_dma_buf_move
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

# kvm_importer NAME NUMBER [FUNCTION...]: functions of this dialect besides bind and unbind.
kvm_importer() {
	name=$1 number=$2 dir=$work/kvm-$1
	shift 2
	mkdir -p "$dir"
	cp "$here"/kvm-importer/* "$here/private-exporter/vfio_dma_buf_data.h" "$here/vm-kind/lab_vm_file.h" "$dir/"
	echo "ccflags-y += -DLAB_PRIVATE_DIALECT=$number" >>"$dir/Kbuild"
	build "$dir" kvm_vfio_dmabuf_lab
	deliver "$dir/kvm_vfio_dmabuf_lab.ko" "$out/$name" kvm_vfio_dmabuf_bind kvm_vfio_dmabuf_unbind "$@"
}

# The distribution's iommufd. Its span iterator lives in lib/ and is left out of a
# vmlinux without iommufd, so that part alone comes along (the rest of the file vmlinux exports).
# iommufd OUT_DIR [CHANGE]: where a script is given it changes the copy of pages.c first.
iommufd() {
	dir=$work/iommu-$(basename "$1")/iommufd
	mkdir -p "$dir"
	cp "$source"/drivers/iommu/*.h "$dir/../"
	cp "$source"/drivers/iommu/iommufd/*.[ch] "$source/drivers/iommu/iommufd/Makefile" "$dir/"
	{
		echo '#include <linux/interval_tree.h>'
		awk '/^#ifdef CONFIG_INTERVAL_TREE_SPAN_ITER/ { inside = 1; next }
			/^#endif/ { inside = 0 }
			inside && !/^EXPORT_SYMBOL/' "$source/lib/interval_tree.c"
	} >"$dir/lab_span_iter.c"
	grep -q 'interval_tree_span_iter_first' "$dir/lab_span_iter.c" ||
		fail "no span iterator found in $source/lib/interval_tree.c" "The kernel source changed: mend iommufd() in lab/modules/build.sh."
	{
		echo 'iommufd-y += lab_span_iter.o'
		echo 'ccflags-y += -DCONFIG_IOMMUFD_MODULE=1 -DCONFIG_INTERVAL_TREE_SPAN_ITER=1'
		# Where the IOMMU translates MSIs (arm64), iommufd calls iommufd_sw_msi_install, which is in its part for drivers.
		echo 'iommufd-$(CONFIG_IRQ_MSI_IOMMU) += driver.o'
		echo 'ccflags-$(CONFIG_IRQ_MSI_IOMMU) += -DCONFIG_IOMMUFD_DRIVER_CORE=1'
	} >>"$dir/Makefile"
	[ $# -eq 1 ] || sh "$2" "$dir/pages.c"
	build "$dir" iommufd CONFIG_IOMMUFD=m
	deliver "$dir/iommufd.ko" "$1" iommufd_ioas_map_file iopt_revoke_notify
}

# The lab's own importers; of what they import with, only the headers are needed.
importers() {
	dir=$work/importer
	mkdir -p "$dir"
	cp "$here"/importer/* "$dir/"
	for module in lab_importer lab_rdma_importer lab_drm_importer lab_bars; do
		build "$dir" $module
		deliver "$dir/$module.ko" "$out"
	done
}

# Writes into kvm_amd's own struct of a VM, whose declaration no headers have.
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
# The kinds of confidential VM are those of kvm_amd, which is part of x86's kernels alone.
if grep -q '^CONFIG_KVM_AMD=' "$headers/.config"; then vm_kind; fi
legacy_exporter
iommufd "$out"
iommufd "$out/legacy" "$here/legacy-exporter/iommufd.sh"
