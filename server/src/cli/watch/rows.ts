import type { BufferView } from '../../contract/buffers.ts';
import type { VmRef } from '../../contract/fields.ts';
import { age, bytes, clock, NO_VALUE } from '../../contract/format.ts';
import type { Incident } from '../../contract/incidents.ts';
import { attachmentText, ownerText, podName, vmName } from '../../contract/names.ts';
import type { Rejection } from './daemon-state.ts';
import type { Column } from './table.ts';

export type Sentences = ReadonlyMap<string, string>;

/** Columns of the buffers, from left to right. Names come from other programs; layOut() replaces their control characters. */
export function bufferColumns(nowMs: number): readonly Column<BufferView>[] {
  return [
    { title: 'DEVICE', rank: 1, most: 16, least: 16, text: ({ device }) => device },
    {
      title: 'BAR',
      rank: 7,
      most: 3,
      least: 3,
      right: true,
      text: ({ region }) => String(region ?? NO_VALUE),
    },
    { title: 'SIZE', rank: 3, most: 10, least: 10, right: true, text: (buffer) => bytes(buffer.bytes) },
    { title: 'PRIVACY', rank: 4, most: 10, least: 10, text: ({ privacy }) => privacy },
    { title: 'STATE', rank: 2, most: 8, least: 8, text: ({ state }) => state },
    { title: 'REVOKED BY', rank: 10, most: 28, least: 10, text: revokedBy },
    { title: 'VM', rank: 5, most: 24, least: 8, text: ({ vm }) => vmName(vm) || NO_VALUE },
    { title: 'IMPORTERS', rank: 6, most: 40, least: 9, text: importersOf },
    { title: 'OWNER', rank: 9, most: 32, least: 10, text: (buffer) => ownerText(buffer) || NO_VALUE },
    { title: 'AGE', rank: 8, most: 12, least: 10, right: true, text: (buffer) => ageOf(buffer, nowMs) },
  ];
}

export function rejectionColumns(sentences: Sentences, nowMs: number): readonly Column<Rejection>[] {
  return [
    { title: 'TIME', rank: 4, most: 15, least: 8, text: ({ time }) => clock(time, nowMs, 'UTC') },
    { title: 'DEVICE', rank: 2, most: 16, least: 16, text: ({ device }) => device },
    { title: 'STAGE', rank: 5, most: 9, least: 9, text: stageOf },
    { title: 'BY', rank: 3, most: 20, least: 6, text: byOf },
    { title: 'REASON', rank: 1, most: 200, least: 24, text: (event) => reasonOf(event, sentences) },
  ];
}

export function incidentColumns(nowMs: number): readonly Column<Incident>[] {
  return [
    { title: 'SEVERITY', rank: 2, most: 8, least: 8, text: ({ severity }) => severity },
    { title: 'SINCE', rank: 3, most: 15, least: 8, text: ({ since }) => clock(since, nowMs, 'UTC') },
    { title: 'KIND', rank: 4, most: 28, least: 28, text: ({ kind }) => kind },
    { title: 'WHAT', rank: 1, most: 200, least: 32, text: ({ sentence }) => sentence },
  ];
}

/** Whether the text of --vm matches this VM. */
export function isVm(vm: VmRef | null, text: string): boolean {
  if (vm === null) return false;
  const { name, uuid, pid, pod_uid, container_name } = vm;
  return [name, uuid, podName(vm), pod_uid, container_name, String(pid)].some(
    (one) => one?.toLowerCase().includes(text) === true,
  );
}

function revokedBy({ revoke_cause, lost_mappings }: BufferView): string {
  const lost = lost_mappings === 0 ? [] : [`${lost_mappings} lost`];
  return [revoke_cause ?? NO_VALUE, ...lost].join(', ');
}

function importersOf({ attachments, attachment_count }: BufferView): string {
  const named = attachments.map(attachmentText);
  const unnamed = attachment_count - attachments.reduce((sum, { count }) => sum + count, 0);
  if (unnamed > 0) named.push(`${unnamed} unnamed`);
  return named.join('; ') || NO_VALUE;
}

/** The age of a buffer whose export was not traced is a lower bound. */
function ageOf({ exported_at, changed_at, preexisting }: BufferView, nowMs: number): string {
  return `${preexisting ? '≥ ' : ''}${age(nowMs - Date.parse(exported_at ?? changed_at))}`;
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
