#!/bin/sh
# Changes a copy of the distribution's drivers/iommu/iommufd/pages.c so that it imports as in 7.0: without a pin,
# because the exporter of 7.0 rejected all pins.
# usage: iommufd.sh FILE
set -eu
FILE=$1
. "$(dirname "$0")/../anchors.sh"

replace '	rc = dma_buf_pin(attach);' '	rc = 0;'
replace '	dma_buf_unpin(attach);' ''
replace '		dma_buf_unpin(pages->dmabuf.attach);' ''
