import { FLEET, grown } from './queries.ts';

/** The devices and VMs that the variables select. */
export const DEVICE = `${FLEET},device=~"$device"`;
export const VM = `${DEVICE},vm=~"$vm"`;
/** With the VM of the device. Devices without a VM are left out. */
export function byVm(metric: string, matchers = ''): string {
  return (
    `sum by (cluster, job, instance, device) (${metric}{${DEVICE}${matchers}}) ` +
    `* on (cluster, job, instance, device) group_left (vm, kind) vfio_dmabuf_vm_info{${VM}}`
  );
}
export const REJECTIONS = 'vfio_dmabuf_import_rejections_total';
export const PRIVATE = `${DEVICE},privacy="private"`;

/** The open incidents of these kinds. */
export function incidentsOf(kind: string): string {
  return `sum(vfio_dmabuf_incidents{${FLEET},kind=~"${kind}"})`;
}

/** The growth of the violations of one kind. */
export function violationsOf(kind: string): string {
  return `sum(${grown('vfio_dmabuf_policy_violations_total', `${FLEET},kind="${kind}"`)})`;
}
