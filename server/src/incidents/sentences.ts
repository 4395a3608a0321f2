import type { VmRef } from '../contract/fields.ts';
import { capital } from '../contract/format.ts';
import type { Closing, Incident } from '../contract/incidents.ts';
import { UNKNOWN_DEVICE } from '../model/naming.ts';
import type { IncidentFacts, IncidentState } from './store.ts';

const CLOSED: Readonly<Record<Closing, string>> = {
  revoke_ended: 'the call has ended',
  mapped_again: 'it was remapped',
  restored: 'the memory was restored',
  imported: 'an importer has attached it',
  released: 'the buffer was released',
  unbound: 'KVM has unbound it',
  vm_gone: 'the VM has ended',
  next_call: 'the next call began; the end of this one was missed',
  snapshot: 'a snapshot shows it; the event was missed',
};

/** The names in a sentence, as known when it is made. */
export interface Names {
  device: string;
  vm: VmRef | null;
  ownerVm: VmRef | null;
  importers: IncidentFacts['importers'];
  holders: IncidentFacts['holders'];
  tracesUnmaps: boolean;
}

/** Describes an incident: one sentence about the problem, and a second one about its end if it is closed. */
export function sentenceOf(incident: IncidentState, named: Names): string {
  const { closedBy, waitedUs } = incident;
  const sentence = `${whatIsWrong(incident, named)}.`;
  if (closedBy === null) return sentence;
  const took = waitedUs === null ? '' : ` after ${(waitedUs / 1e6).toFixed(3)} s`;
  return `${sentence} Over${took}: ${CLOSED[closedBy]}.`;
}

function whatIsWrong(incident: IncidentState, named: Names): string {
  const { kind, buffer, count } = incident;
  const what = bufferName(incident, named);
  switch (kind) {
    case 'revoke_waiting': {
      const { call } = incident;
      const by = call === null ? '' : ` by ${call.comm} (pid ${call.pid}, cause ${call.cause})`;
      return `The revocation of the memory of ${named.device}${by} waits for ${waitedFor(named)}`;
    }
    case 'mappings_lost':
      return `iommufd has lost ${count} ${count === 1 ? 'mapping' : 'mappings'} of ${what} by a revocation: DMA to it fails until it is remapped`;
    case 'orphaned': {
      const owner =
        buffer?.owner === null || buffer === null
          ? 'The owner'
          : `${buffer.owner.comm} (pid ${buffer.owner.pid})`;
      const holders = named.holders.shown.map(({ comm, pid, fds }) => `${comm} (pid ${pid}, ${fds} fds)`);
      const more = named.holders.more + named.importers.more;
      const by = [...holders, ...named.importers.shown.map(importerName), ...moreText(more)];
      return `${owner} has ended, but ${what} still exists, held by ${by.length === 0 ? 'unknown holders' : by.join(', ')}`;
    }
    case 'born_revoked':
      return `${capital(what)} was exported while memory decode of its device was off: every import is rejected until it is on`;
    case 'never_imported':
      return `${capital(what)} was exported, but no importer has attached it`;
    case 'private_without_vm':
      return `${capital(what)} is private, but its device belongs to no VM: no VM may bind it`;
    case 'private_offered': {
      const declared = incident.offers?.declared === true;
      const why = declared
        ? 'which is private'
        : 'which is bound by KVM (this kernel does not report whether it is private)';
      return `${importersOf(named)} tried to attach ${what}, ${why}: ${offers(incident)}`;
    }
    case 'foreign_vm':
      return `KVM has bound ${what} to ${vmName(named.vm)}, but its device belongs to ${vmName(named.ownerVm)}${times(count)}`;
    case 'accepted_not_vfio':
      return `KVM has bound ${what} to ${vmName(named.vm)} although VFIO did not export it${times(count)}`;
    case 'confidential_shared':
      return `${importersOf(named)} has attached ${what} of a confidential VM (${named.vm?.kind ?? 'unknown'})${times(count)}; this kernel does not support private exports`;
    default:
      return kind satisfies never;
  }
}

function bufferName({ inode, buffer, kind }: IncidentState, { device, vm }: Names): string {
  const region = buffer?.region ?? null;
  const bind = kind === 'foreign_vm' || kind === 'accepted_not_vfio';
  const parts = [
    ...(device === UNKNOWN_DEVICE ? [] : [device]),
    ...(region === null ? [] : [`BAR ${region}`]),
    ...(vm === null || bind ? [] : [vmName(vm)]),
  ];
  return `buffer ${inode}${parts.length === 0 ? '' : ` (${parts.join(', ')})`}`;
}

function vmName(vm: VmRef | null): string {
  return vm === null ? 'an unknown VM' : `VM ${vm.name ?? vm.uuid ?? `of pid ${vm.pid}`}`;
}

function importerName({ importer, importer_device: device }: Incident['importers'][number]): string {
  return device === importer || device === '' ? importer : `${importer} ${device}`;
}

function importersOf({ importers }: Names): string {
  const names = [...importers.shown.map(importerName), ...moreText(importers.more)].join(', ');
  return names === 'unknown' ? 'An unknown importer' : `Importer ${names}`;
}

function waitedFor({ importers, tracesUnmaps }: Names): string {
  if (importers.shown.length > 0) {
    const each = importers.shown.map((one) => `${importerName(one)} to unmap buffer ${one.inode}`);
    return [...each, ...moreText(importers.more)].join(', ');
  }
  return tracesUnmaps
    ? 'unknown importers'
    : 'importers, which are unknown because unmaps are not traced here';
}

function offers({ offers: made }: IncidentState): string {
  if (made === null) return 'rejected';
  const { accepted, rejected, reason } = made;
  const parts = [
    ...(accepted > 0 ? [`accepted ${timesText(accepted)}`] : []),
    ...(rejected > 0 ? [`rejected ${timesText(rejected)} (${reason})`] : []),
  ];
  return parts.join(', ');
}

function moreText(more: number): string[] {
  return more > 0 ? [`and ${more} more`] : [];
}

function timesText(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}
function times(count: number): string {
  return count === 1 ? '' : `, ${count} times`;
}
