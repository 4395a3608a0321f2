#!/bin/sh
# Inserts the lab's lines for the private dialects into a copy of the distribution's vfio_pci_dmabuf.c.
# usage: insert.sh FILE
set -eu
FILE=$1
. "$(dirname "$0")/../anchors.sh"

# The data is the first member of the exporter's struct, so its offset is 0.
insert_before 'struct vfio_pci_dma_buf {' '#include "private_devices.c.inc"'
insert_after 'struct vfio_pci_dma_buf {' '	struct vfio_dma_buf_data export_data;'
# Filled before dma_buf_export(), so that a probe there can read it.
insert_after '	priv->vdev = vdev;' '	lab_fill_export_data(vdev, &priv->export_data);'
echo '#include "get_data.c.inc"' >>"$FILE"
echo '#include "get_pfn.c.inc"' >>"$FILE"
