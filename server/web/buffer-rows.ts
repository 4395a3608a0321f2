import { deviceOrder } from '../src/shared/device-order.ts';
import type { BufferView, VmRef } from './types.ts';
import type { Sort, View } from './view.ts';

export function vmName(vm: VmRef | null): string {
  return vm === null ? '' : (vm.name ?? vm.uuid ?? `pid ${vm.pid}`);
}

export function ownerName({ owner }: BufferView): string {
  return owner === null ? '' : `${owner.comm} (${owner.pid})`;
}

export function importerNames(buffer: BufferView): string[] {
  return [...new Set(buffer.attachments.map(({ importer }) => importer))];
}

/** Since when it is known: its export, or what was first seen of it. */
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

/** Every word of the text has to be somewhere in what the row shows. */
function has(buffer: BufferView, words: readonly string[]): boolean {
  const { inode, device, vm, attachments, holders, state, privacy } = buffer;
  const parts = [
    `#${inode}`,
    device,
    ownerName(buffer),
    vmName(vm),
    vm?.uuid ?? '',
    state,
    privacy,
    ...attachments.flatMap((one) => [one.importer, one.importer_device, one.importer_interface ?? '']),
    ...holders.map(({ comm, pid }) => `${comm} (${pid})`),
  ];
  const text = parts.join('\n').toLowerCase();
  return words.every((word) => text.includes(word));
}

/** The rows that are asked for, in the order that is asked for. */
export function bufferRows(
  buffers: readonly BufferView[],
  {
    text,
    state,
    privacy,
    sort,
    descending,
  }: Pick<View, 'text' | 'state' | 'privacy' | 'sort' | 'descending'>,
): BufferView[] {
  const words = text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  const key = KEYS[sort];
  const rows = buffers
    .filter(
      (buffer) =>
        (state === 'existing' ? buffer.state !== 'released' : buffer.state === state) &&
        (privacy === 'any' || buffer.privacy === privacy) &&
        (words.length === 0 || has(buffer, words)),
    )
    .map((buffer) => ({ buffer, key: key(buffer) }));
  const sign = descending ? -1 : 1;
  rows.sort((a, b) => {
    const order = a.key < b.key ? -1 : a.key > b.key ? 1 : a.buffer.inode - b.buffer.inode;
    return sign * order;
  });
  return rows.map(({ buffer }) => buffer);
}
