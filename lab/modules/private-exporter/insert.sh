#!/bin/sh
# Puts the lab's lines of the private dialects into a copy of the distribution's vfio_pci_dmabuf.c.
# usage: insert.sh FILE
set -eu
FILE=$1
. "$(dirname "$0")/../anchors.sh"

# The exporter's struct is opened by the data, so that it sits at offset 0.
insert_before 'struct vfio_pci_dma_buf {' '#include "private_devices.c.inc"'
insert_after 'struct vfio_pci_dma_buf {' '	struct vfio_dma_buf_data export_data;'
# Filled before dma_buf_export(), so that a probe there already sees it.
insert_after '	priv->vdev = vdev;' '	lab_fill_export_data(vdev, &priv->export_data);'
echo '#include "get_data.c.inc"' >>"$FILE"
