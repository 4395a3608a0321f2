#!/bin/sh
# Makes a copy of the distribution's vfio_pci_dmabuf.c behave as that of 6.19 and 7.0 did.
# usage: change.sh FILE
set -eu
FILE=$1
. "$(dirname "$0")/../anchors.sh"

# An importer that cannot give its mapping back was let in at attach ...
replace '	if (!dma_buf_attach_revocable(attachment))' '' 2
# ... and one that pins was rejected when it did.
insert_before 'static const struct dma_buf_ops vfio_pci_dmabuf_ops = {' '#include "pin.c.inc"'
insert_after '	.attach = vfio_pci_dma_buf_attach,' '	.pin = vfio_pci_dma_buf_pin,
	.unpin = vfio_pci_dma_buf_unpin,'
# Nobody counted who had mapped, and nobody waited for them.
replace '	struct kref kref;' ''
replace '	struct completion comp;' ''
replace_function 'static void vfio_pci_dma_buf_done(struct kref *kref)' ''
replace '	kref_get(&priv->kref);' ''
replace '	kref_put(&priv->kref, vfio_pci_dma_buf_done);' ''
replace_function 'void vfio_pci_dma_buf_move(struct vfio_pci_core_device *vdev, bool revoked)' '#include "move.c.inc"'
replace_function 'void vfio_pci_dma_buf_cleanup(struct vfio_pci_core_device *vdev)' '#include "cleanup.c.inc"'
replace '	kref_init(&priv->kref);' ''
replace '	init_completion(&priv->comp);' ''
