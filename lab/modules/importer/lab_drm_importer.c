// SPDX-License-Identifier: GPL-2.0-only
/*
 * A DRM device whose driver cannot import: it has no gem_prime_import_sg_table.
 * The distribution's PRIME code rejects the import.
 */
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <linux/device/faux.h>
#include <linux/module.h>

DEFINE_DRM_GEM_FOPS(lab_fops);

static const struct drm_driver lab_driver = {
	.driver_features = DRIVER_GEM | DRIVER_RENDER,
	.fops = &lab_fops,
	.name = "lab_drm",
	.desc = "Lab DRM device that cannot import",
	.major = 1,
};

static struct faux_device *lab_faux;
static struct drm_device *lab_drm;

static int __init lab_init(void)
{
	int ret;

	lab_faux = faux_device_create("lab_drm", NULL, NULL);
	if (!lab_faux)
		return -ENODEV;
	lab_drm = drm_dev_alloc(&lab_driver, &lab_faux->dev);
	if (IS_ERR(lab_drm)) {
		ret = PTR_ERR(lab_drm);
		goto faux;
	}
	ret = drm_dev_register(lab_drm, 0);
	if (!ret)
		return 0;
	drm_dev_put(lab_drm);
faux:
	faux_device_destroy(lab_faux);
	return ret;
}

static void __exit lab_exit(void)
{
	drm_dev_unregister(lab_drm);
	drm_dev_put(lab_drm);
	faux_device_destroy(lab_faux);
}

module_init(lab_init);
module_exit(lab_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Lab DRM device that cannot import");
