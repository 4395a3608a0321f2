import type { BufferView } from './buffers.ts';
import type { TracerEvent } from './events.ts';
import type { VmRef } from './fields.ts';
import { ROUTE_TEXT } from './routes.ts';
import type { IdleDevice } from './topology.ts';

/** How page and terminal name what an event or a buffer refers to. An unknown one has the name ''. */

export function vmName(vm: VmRef | null): string {
  if (vm === null) return '';
  return ownName(vm) ?? podName(vm) ?? vm.container_name ?? idOf(vm) ?? vm.pod_uid ?? `pid ${vm.pid}`;
}

/** A VM in a sentence or as a title. */
export function vmTitle(vm: VmRef): string {
  const { pid, container_name: container } = vm;
  const pod = podName(vm);
  const place = pod !== null ? `of pod ${pod}` : container !== null ? `of container ${container}` : null;
  return `VM ${ownName(vm) ?? place ?? idOf(vm) ?? `of pid ${pid}`}`;
}

/** The pod of a VM with its namespace; null if its name is not known. */
export function podName({ pod_name: name, pod_namespace: namespace }: VmRef): string | null {
  return name === null || namespace === null ? name : `${namespace}/${name}`;
}

/** Null if the name is no more than the ID of the container: Kata's `sandbox-ID`. */
function ownName({ name, container_id: id }: VmRef): string | null {
  return id !== null && name?.includes(id) === true ? null : name;
}

function idOf({ name, uuid }: VmRef): string | null {
  return name ?? uuid;
}

export function processName({ comm, pid }: { comm: string; pid: number }): string {
  return `${comm} (${pid})`;
}

export function ownerName({ owner }: Pick<BufferView, 'owner'>): string {
  return owner === null ? '' : processName(owner);
}

/** A device that a process has open without a buffer. */
export function idleDeviceText({ device, holders }: IdleDevice): string {
  const names = holders.map(({ pid, comm, vm }) => {
    const process = comm === null ? `pid ${pid}` : processName({ comm, pid });
    return vm === null ? process : `${vmTitle(vm)}, ${process}`;
  });
  return `${device} by ${names.join(' and ')}`;
}

/** The owner as a row of a table shows it. */
export function ownerText(buffer: Pick<BufferView, 'owner'>): string {
  return `${ownerName(buffer)}${buffer.owner?.gone === true ? ', ended' : ''}`;
}

/** An importer and the device that it imports for. */
export function importerName({
  importer,
  importer_interface,
  importer_device,
}: Pick<BufferView['attachments'][number], 'importer' | 'importer_interface' | 'importer_device'>): string {
  const device = importer_interface ?? importer_device;
  return device === importer || device === '' ? importer : `${importer} (${device})`;
}

/** An importer of a buffer as a row of a table shows it. */
export function attachmentText(attachment: BufferView['attachments'][number]): string {
  const { count, mapped, route } = attachment;
  const text = mapped ? ROUTE_TEXT[route ?? 'unknown'] : 'not mapped';
  return `${importerName(attachment)}${count > 1 ? ` × ${count}` : ''}${text === '' ? '' : `, ${text}`}`;
}

/** The buffer of an event; null if the event is not about one buffer. */
export function inodeOf(event: TracerEvent): number | null {
  if (event.kind === 'incident') return event.incident.inode;
  return 'inode' in event ? event.inode : null;
}
