import { deviceOrder } from '../../src/contract/device-order.ts';
import { ownerName, podName, processName, vmName } from '../../src/contract/names.ts';
import type { PageView, Sort } from '../data/page-view.ts';
import type { BufferView } from '../data/types.ts';

export function importerNames(buffer: BufferView): string[] {
  return [...new Set(buffer.attachments.map(({ importer }) => importer))];
}

/** The time of its export, or of the oldest fact known about it. */
export function since(buffer: BufferView): string {
  return buffer.exported_at ?? buffer.changed_at;
}

const KEYS: Readonly<Record<Sort, (buffer: BufferView) => string | number>> = {
  // The youngest first.
  age: (buffer) => -Date.parse(since(buffer)),
  size: (buffer) => buffer.bytes,
  device: (buffer) => deviceOrder(buffer.device),
  owner: ownerName,
  vm: (buffer) => vmName(buffer.vm),
  importers: (buffer) => buffer.attachments.length,
  state: (buffer) => buffer.state,
};

/** True if the row contains each term. */
function matches(buffer: BufferView, terms: readonly string[]): boolean {
  const { inode, device, vm, attachments, holders, state, privacy } = buffer;
  const parts = [
    `#${inode}`,
    device,
    ownerName(buffer),
    vmName(vm),
    ...(vm === null ? [] : [vm.uuid ?? '', podName(vm) ?? '', vm.container_name ?? '']),
    state,
    privacy,
    ...attachments.flatMap((one) => [one.importer, one.importer_device, one.importer_interface ?? '']),
    ...holders.map(processName),
  ];
  const text = parts.join('\n').toLowerCase();
  return terms.every((term) => text.includes(term));
}

/** Filters and sorts the buffers. */
export function bufferRows(
  buffers: readonly BufferView[],
  {
    text,
    state,
    privacy,
    sort,
    descending,
  }: Pick<PageView, 'text' | 'state' | 'privacy' | 'sort' | 'descending'>,
): BufferView[] {
  const terms = text
    .toLowerCase()
    .split(/\s+/)
    .filter((term) => term !== '');
  const key = KEYS[sort];
  const rows = buffers
    .filter(
      (buffer) =>
        (state === 'existing' ? buffer.state !== 'released' : buffer.state === state) &&
        (privacy === 'any' || buffer.privacy === privacy) &&
        (terms.length === 0 || matches(buffer, terms)),
    )
    .map((buffer) => ({ buffer, key: key(buffer) }));
  const sign = descending ? -1 : 1;
  rows.sort((a, b) => {
    const order = a.key < b.key ? -1 : a.key > b.key ? 1 : a.buffer.inode - b.buffer.inode;
    return sign * order;
  });
  return rows.map(({ buffer }) => buffer);
}
