#!/bin/sh
# Makes a copy of the distribution's drivers/iommu/iommufd/pages.c import as that of 7.0 did: without a pin, which the
# exporter of that time rejected to all.
# usage: iommufd.sh FILE
set -eu
FILE=$1
. "$(dirname "$0")/../anchors.sh"

replace '	rc = dma_buf_pin(attach);' '	rc = 0;'
replace '	dma_buf_unpin(attach);' ''
replace '		dma_buf_unpin(pages->dmabuf.attach);' ''
