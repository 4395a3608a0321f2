import type { Lab } from '../lab.ts';
import { LAB_DEVICES } from '../machine.ts';

export const { plain: PLAIN, resettable: RESETTABLE, capable: CAPABLE, switched: SWITCHED } = LAB_DEVICES;

export const KIB = 1024;

/** Samples that change when `count` buffers are exported; `bytes` is their total size. */
export function exported(
  device: string,
  bytes: number,
  count = 1,
  privacy = 'undeclared',
): Record<string, number> {
  return {
    [`exports_total{device="${device}",privacy="${privacy}"}`]: count,
    [`exported_bytes_total{device="${device}",privacy="${privacy}"}`]: bytes,
    export_duration_seconds_count: count,
  };
}

/** Samples that change with one rejected export. */
export function rejectedExport(device: string, errno: string, reason: string): Record<string, number> {
  return {
    [`export_rejections_total{device="${device}",errno="${errno}",reason="${reason}"}`]: 1,
    export_duration_seconds_count: 1,
  };
}

/** Labels of imports that come from the buffer: the exporting device and the privacy. */
export interface BufferLabels {
  device: string;
  privacy: string;
}

/** The buffer of most scenarios. */
const USUAL: BufferLabels = { device: PLAIN, privacy: 'undeclared' };
export const PRIVATE_BUFFER: BufferLabels = { device: PLAIN, privacy: 'private' };
/** For a buffer that VFIO did not export, or whose device was closed: then `vfio_pci_dma_buf.vdev` is NULL. */
export const UNKNOWN_DEVICE: BufferLabels = { device: 'unknown', privacy: 'undeclared' };

/** Samples that change with `count` successful import calls of one stage. */
export function imported(
  importer: string,
  stage: string,
  count = 1,
  { device, privacy }: BufferLabels = USUAL,
): Record<string, number> {
  return {
    [`imports_total{device="${device}",importer="${importer}",privacy="${privacy}",stage="${stage}"}`]: count,
    [`import_duration_seconds_count{importer="${importer}",stage="${stage}"}`]: count,
  };
}

/** Samples that change with one rejected import call. */
export function rejectedImport(
  importer: string,
  stage: string,
  errno: string,
  reason: string,
  { device, privacy }: BufferLabels = USUAL,
): Record<string, number> {
  return {
    [`import_rejections_total{device="${device}",errno="${errno}",importer="${importer}",privacy="${privacy}",reason="${reason}",stage="${stage}"}`]: 1,
    [`import_duration_seconds_count{importer="${importer}",stage="${stage}"}`]: 1,
  };
}

/** The sample that changes with `count` detaches of an importer. */
export function detached(
  importer: string,
  count = 1,
  { device, privacy }: BufferLabels = USUAL,
): Record<string, number> {
  return {
    [`detaches_total{device="${device}",importer="${importer}",privacy="${privacy}"}`]: count,
  };
}

/** The sample that changes with one unmap of an importer. */
export function unmapped(
  importer: string,
  { device, privacy }: BufferLabels = USUAL,
): Record<string, number> {
  return {
    [`unmaps_total{device="${device}",importer="${importer}",privacy="${privacy}"}`]: 1,
  };
}

/** The sample that changes with `count` mappings on one route. */
export function routed(
  importer: string,
  route: string,
  { device, privacy }: BufferLabels = USUAL,
  count = 1,
): Record<string, number> {
  return {
    [`mapping_routes_total{device="${device}",importer="${importer}",privacy="${privacy}",route="${route}"}`]:
      count,
  };
}

/** Samples that change when one buffer is revoked. */
export function revoked(device: string, cause: string): Record<string, number> {
  return {
    [`revocations_total{cause="${cause}",device="${device}"}`]: 1,
    revocation_duration_seconds_count: 1,
  };
}

/** The sample that changes when one buffer is restored. */
export function restored(device: string, cause: string): Record<string, number> {
  return { [`restorations_total{cause="${cause}",device="${device}"}`]: 1 };
}

/** Samples that change when KVM zaps a buffer. Only a revocation has a duration. */
export function zapped(
  device: string,
  cause: string,
  { revokes, restores }: { revokes: number; restores: number },
): Record<string, number> {
  return {
    [`zaps_total{cause="${cause}",device="${device}"}`]: revokes + restores,
    zap_duration_seconds_count: revokes,
  };
}

/** The sample that changes when KVM looks up the data of a VFIO buffer, or of another one. */
export const PRIVATE_READ = { 'private_data_reads_total{importer="kvm"}': 1 };
export const PRIVATE_READ_REJECTED = {
  'private_data_read_rejections_total{importer="kvm",reason="not_vfio"}': 1,
};

/** Sets the devices whose exports are private from now on (v1 only). */
export async function makePrivate(lab: Lab, devices: string): Promise<void> {
  await lab.command(`echo '${devices}' >/sys/module/vfio_pci_core/parameters/private_devices`);
}

/** The sample that changes with one policy violation. */
export function violation(kind: string): Record<string, number> {
  return {
    [`policy_violations_total{kind="${kind}"}`]: 1,
  };
}

/** The sample that changes with an incident that is closed again by the end of the scenario. */
export function opened(kind: string): Record<string, number> {
  return { [`incidents_total{kind="${kind}"}`]: 1 };
}

/** Adds up the changes of several actions. */
export function sum(...changes: Record<string, number>[]): Record<string, number> {
  const result: Record<string, number> = {};
  for (const change of changes) {
    for (const [key, value] of Object.entries(change)) result[key] = (result[key] ?? 0) + value;
  }
  return result;
}

/** iommufd attaches and pins before it maps the range. */
export const IOMMUFD_ATTACHES = sum(imported('iommufd', 'attach'), imported('iommufd', 'pin'));
