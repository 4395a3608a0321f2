#!/bin/sh
# Changes a copy of the distribution's vfio_pci_dmabuf.c so that it behaves as in 6.19 and 7.0.
# usage: change.sh FILE
set -eu
FILE=$1
. "$(dirname "$0")/../anchors.sh"

# Attach accepted importers whose mappings cannot be revoked.
replace '	if (!dma_buf_attach_revocable(attachment))' '' 2
# Pins were rejected.
insert_before 'static const struct dma_buf_ops vfio_pci_dmabuf_ops = {' '#include "pin.c.inc"'
insert_after '	.attach = vfio_pci_dma_buf_attach,' '	.pin = vfio_pci_dma_buf_pin,
	.unpin = vfio_pci_dma_buf_unpin,'
# A revocation did not count the mappings and did not wait for their unmap.
replace '	struct kref kref;' ''
replace '	struct completion comp;' ''
replace_function 'static void vfio_pci_dma_buf_done(struct kref *kref)' ''
replace '	kref_get(&priv->kref);' ''
replace '	kref_put(&priv->kref, vfio_pci_dma_buf_done);' ''
replace_function 'void vfio_pci_dma_buf_move(struct vfio_pci_core_device *vdev, bool revoked)' '#include "move.c.inc"'
replace_function 'void vfio_pci_dma_buf_cleanup(struct vfio_pci_core_device *vdev)' '#include "cleanup.c.inc"'
replace '	kref_init(&priv->kref);' ''
replace '	init_completion(&priv->comp);' ''
