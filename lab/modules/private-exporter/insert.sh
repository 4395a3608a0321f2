#!/bin/sh
# Puts the lab's lines into a copy of the distribution's vfio_pci_dmabuf.c.
# usage: insert.sh FILE
#
# Only anchors are named here, so no kernel text lives in this repository. Each
# must match exactly once: a source that moved on fails the build, not the lab.
set -eu
file=$1

# insert before|after ANCHOR TEXT
insert() {
	where=$1 anchor=$2 text=$3
	matches=$(grep -c -- "$anchor" "$file" || :)
	if [ "$matches" -ne 1 ]; then
		echo "insert.sh: anchor '$anchor' matches $matches times in $file, wanted once." >&2
		echo "  The kernel source changed: mend the anchor in lab/modules/private-exporter/insert.sh." >&2
		exit 1
	fi
	if [ "$where" = before ]; then
		ANCHOR=$anchor TEXT=$text awk '$0 ~ ENVIRON["ANCHOR"] { print ENVIRON["TEXT"] } { print }' "$file" >"$file.new"
	else
		ANCHOR=$anchor TEXT=$text awk '{ print } $0 ~ ENVIRON["ANCHOR"] { print ENVIRON["TEXT"] }' "$file" >"$file.new"
	fi
	mv "$file.new" "$file"
}

# The exporter's struct is opened by the data, so that it sits at offset 0.
insert before '^struct vfio_pci_dma_buf {$' '#include "private_devices.c.inc"'
insert after '^struct vfio_pci_dma_buf {$' '	struct vfio_dma_buf_data export_data;'
# Filled before dma_buf_export(), so that a probe there already sees it.
insert after '^	priv->vdev = vdev;$' '	lab_fill_export_data(vdev, &priv->export_data);'
echo '#include "get_data.c.inc"' >>"$file"
