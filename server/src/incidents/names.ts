import type { VmRef } from '../contract/fields.ts';
import { vmTitle } from '../contract/names.ts';
import { UNKNOWN_DEVICE } from '../model/naming.ts';
import type { Importer, Named } from './participants.ts';
import type { Names } from './rule.ts';
import type { IncidentState } from './store.ts';

/** The words for what an incident is about, which the sentences of several kinds share. */

/** The buffer with its device, BAR and VM. A `vm` of null leaves the VM out. */
export function bufferName(
  { inode, buffer }: IncidentState,
  { device, vm }: Pick<Names, 'device' | 'vm'>,
): string {
  const region = buffer?.region ?? null;
  const parts = [
    ...(device === UNKNOWN_DEVICE ? [] : [device]),
    ...(region === null ? [] : [`BAR ${region}`]),
    ...(vm === null ? [] : [vmText(vm)]),
  ];
  return `buffer ${inode}${parts.length === 0 ? '' : ` (${parts.join(', ')})`}`;
}

export function vmText(vm: VmRef | null): string {
  return vm === null ? 'an unknown VM' : vmTitle(vm);
}

export function importerText({ importer, importer_device: device }: Importer): string {
  return device === importer || device === '' ? importer : `${importer} ${device}`;
}

/** The importers at the start of a sentence. */
export function importersText({ shown, more }: Named<Importer>): string {
  const names = [...shown.map(importerText), ...moreText(more)].join(', ');
  return names === 'unknown' ? 'An unknown importer' : `Importer ${names}`;
}

export function moreText(more: number): string[] {
  return more > 0 ? [`and ${more} more`] : [];
}

export function timesText(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}

/** The end of a clause: nothing for one occurrence. */
export function repetition(count: number): string {
  return count === 1 ? '' : `, ${count} times`;
}
