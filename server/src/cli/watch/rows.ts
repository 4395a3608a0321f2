import type { BufferView } from '../../contract/buffers.ts';
import type { VmRef } from '../../contract/fields.ts';
import type { Incident } from '../../contract/incidents.ts';
import { formatAge, formatBytes } from '../text.ts';
import type { Rejection } from './daemon-state.ts';
import type { Column } from './table.ts';

export type Sentences = ReadonlyMap<string, string>;

/** Columns of the buffers, from left to right. Names come from other programs; layOut() replaces their control characters. */
export function bufferColumns(nowMs: number): readonly Column<BufferView>[] {
  return [
    { title: 'DEVICE', rank: 1, most: 16, least: 16, text: ({ device }) => device },
    { title: 'BAR', rank: 7, most: 3, least: 3, right: true, text: ({ region }) => String(region ?? '-') },
    { title: 'SIZE', rank: 3, most: 10, least: 10, right: true, text: ({ bytes }) => formatBytes(bytes) },
    { title: 'PRIVACY', rank: 4, most: 10, least: 10, text: ({ privacy }) => privacy },
    { title: 'STATE', rank: 2, most: 8, least: 8, text: ({ state }) => state },
    { title: 'REVOKED BY', rank: 10, most: 28, least: 10, text: revokedBy },
    { title: 'VM', rank: 5, most: 24, least: 8, text: ({ vm }) => vmOf(vm) },
    { title: 'IMPORTERS', rank: 6, most: 40, least: 9, text: importersOf },
    { title: 'OWNER', rank: 9, most: 24, least: 10, text: ownerOf },
    { title: 'AGE', rank: 8, most: 7, least: 7, right: true, text: (buffer) => ageOf(buffer, nowMs) },
  ];
}

export function rejectionColumns(sentences: Sentences): readonly Column<Rejection>[] {
  return [
    { title: 'TIME', rank: 4, most: 8, least: 8, text: ({ time }) => time.slice(11, 19) },
    { title: 'DEVICE', rank: 2, most: 16, least: 16, text: ({ device }) => device },
    { title: 'STAGE', rank: 5, most: 9, least: 9, text: stageOf },
    { title: 'BY', rank: 3, most: 20, least: 6, text: byOf },
    { title: 'REASON', rank: 1, most: 200, least: 24, text: (event) => reasonOf(event, sentences) },
  ];
}

export const INCIDENT_COLUMNS: readonly Column<Incident>[] = [
  { title: 'SEVERITY', rank: 2, most: 8, least: 8, text: ({ severity }) => severity },
  { title: 'SINCE', rank: 3, most: 8, least: 8, text: ({ since }) => since.slice(11, 19) },
  { title: 'KIND', rank: 4, most: 28, least: 28, text: ({ kind }) => kind },
  { title: 'WHAT', rank: 1, most: 200, least: 32, text: ({ sentence }) => sentence },
];

export function vmOf(vm: VmRef | null): string {
  if (vm === null) return '-';
  return vm.name ?? vm.uuid ?? vm.pod_uid ?? `pid ${vm.pid}`;
}

/** Whether the text of --vm matches this VM. */
export function isVm(vm: VmRef | null, text: string): boolean {
  if (vm === null) return false;
  return [vm.name, vm.uuid, vm.pod_uid, String(vm.pid)].some(
    (name) => name?.toLowerCase().includes(text) === true,
  );
}

function revokedBy({ revoke_cause, lost_mappings }: BufferView): string {
  const lost = lost_mappings === 0 ? [] : [`${lost_mappings} lost`];
  return [revoke_cause ?? '-', ...lost].join(', ');
}

function importersOf({ attachments, attachment_count }: BufferView): string {
  const named = attachments.map(({ importer, importer_interface, importer_device, count, mapped }) => {
    const device = importer_interface ?? (importer_device === importer ? '' : importer_device);
    const text = `${importer}${device === '' ? '' : ` ${device}`}${count === 1 ? '' : ` x${count}`}`;
    return `${text}${mapped ? '' : ' (not mapped)'}`;
  });
  const unnamed = attachment_count - attachments.reduce((sum, { count }) => sum + count, 0);
  if (unnamed > 0) named.push(`${unnamed} unnamed`);
  return named.length === 0 ? '-' : named.join(', ');
}

function ownerOf({ owner }: BufferView): string {
  if (owner === null) return '-';
  return `${owner.comm} ${owner.pid}${owner.gone ? ' (gone)' : ''}`;
}

/** The age of a buffer that was exported before the daemon started is a lower bound, marked with `>`. */
function ageOf({ exported_at, changed_at }: BufferView, nowMs: number): string {
  return `${exported_at === null ? '>' : ''}${formatAge(nowMs - Date.parse(exported_at ?? changed_at))}`;
}

function stageOf(event: Rejection): string {
  return event.kind === 'import' ? event.stage : event.kind;
}

function byOf(event: Rejection): string {
  return event.kind === 'import' ? event.importer : event.comm;
}

function reasonOf({ reason }: Rejection, sentences: Sentences): string {
  const sentence = sentences.get(reason);
  return sentence === undefined ? reason : `${reason}: ${sentence}`;
}
