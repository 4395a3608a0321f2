import { LAB_DEVICES } from '../machine.ts';

export const { plain: PLAIN, resettable: RESETTABLE, capable: CAPABLE } = LAB_DEVICES;

export const KIB = 1024;

/** Samples that every good export of `count` buffers of `bytes` in all changes. */
export const exported = (
  device: string,
  bytes: number,
  count = 1,
  privacy = 'undeclared',
): Record<string, number> => ({
  [`exports_total{device="${device}",privacy="${privacy}"}`]: count,
  [`exported_bytes_total{device="${device}",privacy="${privacy}"}`]: bytes,
  export_duration_seconds_count: count,
});

/** Samples that a rejected export changes. */
export const rejectedExport = (device: string, errno: string, reason: string): Record<string, number> => ({
  [`export_rejections_total{device="${device}",errno="${errno}",reason="${reason}"}`]: 1,
  export_duration_seconds_count: 1,
});

/** The exporting device and the privacy of a buffer, as the labels of its imports name them. */
export interface BufferLabels {
  device: string;
  privacy: string;
}

/** The buffer of most scenarios. */
const USUAL: BufferLabels = { device: PLAIN, privacy: 'undeclared' };
export const PRIVATE_BUFFER: BufferLabels = { device: PLAIN, privacy: 'private' };
/** A buffer that VFIO did not export, or one whose device has been closed: `vfio_pci_dma_buf.vdev` is NULL then. */
export const UNKNOWN_DEVICE: BufferLabels = { device: 'unknown', privacy: 'undeclared' };

/** Samples that successful import calls of one stage change. */
export const imported = (
  importer: string,
  stage: string,
  count = 1,
  { device, privacy }: BufferLabels = USUAL,
): Record<string, number> => ({
  [`imports_total{device="${device}",importer="${importer}",privacy="${privacy}",stage="${stage}"}`]: count,
  [`import_duration_seconds_count{importer="${importer}",stage="${stage}"}`]: count,
});

/** Samples that a rejected import call of one stage changes. */
export const rejectedImport = (
  importer: string,
  stage: string,
  errno: string,
  reason: string,
  { device, privacy }: BufferLabels = USUAL,
): Record<string, number> => ({
  [`import_rejections_total{device="${device}",errno="${errno}",importer="${importer}",privacy="${privacy}",reason="${reason}",stage="${stage}"}`]: 1,
  [`import_duration_seconds_count{importer="${importer}",stage="${stage}"}`]: 1,
});

/** The sample that detaches of an importer change. */
export const detached = (
  importer: string,
  count = 1,
  { device, privacy }: BufferLabels = USUAL,
): Record<string, number> => ({
  [`detaches_total{device="${device}",importer="${importer}",privacy="${privacy}"}`]: count,
});

/** The sample that an unmap of an importer changes. */
export const unmapped = (importer: string): Record<string, number> => ({
  [`unmaps_total{device="${USUAL.device}",importer="${importer}",privacy="${USUAL.privacy}"}`]: 1,
});

/** Samples that the revocation of one buffer changes. */
export const revoked = (device: string, cause: string): Record<string, number> => ({
  [`revocations_total{cause="${cause}",device="${device}"}`]: 1,
  revocation_duration_seconds_count: 1,
});

/** A broken rule of private exports. */
export const violation = (kind: string): Record<string, number> => ({
  [`policy_violations_total{kind="${kind}"}`]: 1,
});

/** What an incident changes that has closed by the end of a scenario. */
export const opened = (kind: string): Record<string, number> => ({ [`incidents_total{kind="${kind}"}`]: 1 });

/** Adds the changes of several actions up. */
export const sum = (...changes: Record<string, number>[]): Record<string, number> => {
  const result: Record<string, number> = {};
  for (const change of changes) {
    for (const [key, value] of Object.entries(change)) result[key] = (result[key] ?? 0) + value;
  }
  return result;
};

/** iommufd attaches and pins before it takes the range. */
export const IOMMUFD_TAKES = sum(imported('iommufd', 'attach'), imported('iommufd', 'pin'));
