import { errnoName } from '../../src/contract/errno-names.ts';
import { bytes, count, duration } from '../../src/contract/format.ts';
import { importerName, vmTitle } from '../../src/contract/names.ts';
import { ROUTE_TEXT } from '../../src/contract/routes.ts';
import type { TracerEvent } from './types.ts';

/** One event as the history of a buffer and the list of events show it. */
export interface Description {
  tone: 'ok' | 'bad' | 'warn' | 'neutral';
  title: string;
  detail: string;
}

const STAGE: Readonly<Record<string, string>> = {
  attach: 'attached it',
  pin: 'pinned it',
  map: 'mapped it',
  vmap: 'mapped it for the CPU',
  iommufd: 'mapped it for DMA',
  bind: 'bound it to its VM',
  rdma: 'registered it for RDMA',
  prime: 'imported it as a graphics buffer',
  videobuf2: 'queued it',
  devmem: 'bound it to a network queue',
  get_pfn: 'resolved a fault of the guest',
};

/** Why a call failed; null if it succeeded. */
export function reasonOf(event: TracerEvent): string | null {
  return 'reason' in event && event.errno !== 0 ? event.reason : null;
}

export function describe(event: TracerEvent): Description {
  switch (event.kind) {
    case 'export':
      return event.errno === 0
        ? {
            tone: event.born_revoked ? 'warn' : 'ok',
            title: `Exported ${bytes(event.bytes)} of BAR ${event.region}`,
            detail: [
              event.privacy,
              ...(event.born_revoked ? ['memory decode was off'] : []),
              duration(event.duration_ns / 1e9),
            ].join(', '),
          }
        : {
            tone: 'bad',
            title: 'Export rejected',
            detail: `${errnoName(event.errno)}, BAR ${event.region}, ${count(event.ranges, 'range')}`,
          };
    case 'import': {
      const who = event.importer_interface ?? event.importer_device;
      return event.errno === 0
        ? {
            tone: 'ok',
            title: `${event.importer} ${STAGE[event.stage] ?? event.stage}`,
            detail: [
              ...(who === event.importer ? [] : [who]),
              ...[ROUTE_TEXT[event.route ?? 'unknown']].filter((text) => text !== ''),
              duration(event.duration_ns / 1e9),
            ].join(', '),
          }
        : {
            tone: 'bad',
            title: `${importerName(event)} was rejected`,
            detail: `at ${event.stage}: ${errnoName(event.errno)}`,
          };
    }
    case 'bind':
      return event.errno === 0
        ? {
            tone: event.violation === 'none' ? 'ok' : 'bad',
            title: event.violation === 'none' ? 'KVM bound it' : `KVM bound it against the rules`,
            detail: event.violation === 'none' ? (event.vm?.name ?? '') : event.violation,
          }
        : { tone: 'bad', title: 'KVM was rejected', detail: `at bind: ${errnoName(event.errno)}` };
    case 'unbind':
      return { tone: 'neutral', title: 'KVM unbound it', detail: event.vm?.name ?? '' };
    case 'zap':
      return {
        tone: 'neutral',
        title: event.revoked ? 'KVM removed its pages from the guest' : 'KVM was notified of the restore',
        detail: [
          event.cause,
          ...(event.vm === null ? [] : [vmTitle(event.vm)]),
          duration(event.duration_ns / 1e9),
        ].join(', '),
      };
    case 'private_read':
      return event.errno === 0
        ? { tone: 'ok', title: `${event.reader} read its privacy`, detail: event.privacy }
        : {
            tone: 'bad',
            title: `${event.reader} could not read its privacy`,
            detail: errnoName(event.errno),
          };
    case 'detach':
      return { tone: 'neutral', title: `${event.importer} detached it`, detail: '' };
    case 'unmap':
      return { tone: 'neutral', title: `${event.importer} unmapped it`, detail: '' };
    case 'buffer_state': {
      const lost = event.lost_mappings === 0 ? '' : `, ${count(event.lost_mappings, 'mapping')} lost`;
      return event.revoked
        ? { tone: 'warn', title: 'Revoked', detail: `${event.cause}${lost}` }
        : { tone: 'ok', title: 'Restored', detail: event.cause };
    }
    case 'revoke_call':
      return {
        tone: event.revoked ? 'warn' : 'ok',
        title: `${event.revoked ? 'Revoked' : 'Restored'} ${count(event.buffers, 'buffer')} of the device`,
        detail: `${event.cause}, took ${duration(event.duration_ns / 1e9)}`,
      };
    case 'release':
      return { tone: 'neutral', title: 'Released', detail: '' };
    case 'late_release':
      return event.done
        ? {
            tone: 'neutral',
            title: 'VFIO released it',
            detail: 'after the last O_PATH descriptor was closed',
          }
        : {
            tone: 'bad',
            title: 'Its file is released, but VFIO has not released it',
            detail: 'held by an O_PATH descriptor',
          };
    case 'incident':
      return {
        tone: event.change === 'opened' && event.incident.severity !== 'info' ? 'warn' : 'neutral',
        title: `Incident ${event.change}: ${event.incident.kind}`,
        detail: event.incident.sentence,
      };
    default:
      return event satisfies never;
  }
}
