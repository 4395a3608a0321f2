import { bytes, count, duration } from './format.ts';
import type { TracerEvent } from './types.ts';

/** One event in the words of the timeline and the feed. */
export interface Description {
  tone: 'ok' | 'bad' | 'warn' | 'plain';
  title: string;
  detail: string;
}

const STEP: Readonly<Record<string, string>> = {
  attach: 'attached it',
  pin: 'pinned it',
  map: 'mapped it',
  vmap: 'mapped it for the CPU',
  iommufd: 'mapped it for DMA',
  bind: 'bound it to its VM',
  rdma: 'registered it for RDMA',
  prime: 'made a graphics buffer of it',
  videobuf2: 'queued it',
  devmem: 'bound it to a network queue',
};

/** Why a call failed, also one that rejected nobody; null where it did not. */
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
              ...(event.born_revoked ? ['its memory was off'] : []),
              duration(event.duration_ns / 1e9),
            ].join(', '),
          }
        : {
            tone: 'bad',
            title: 'Export rejected',
            detail: `BAR ${event.region}, ${count(event.ranges, 'range')}`,
          };
    case 'import': {
      const who = event.importer_interface ?? event.importer_device;
      const name = who === event.importer ? event.importer : `${event.importer} (${who})`;
      return event.errno === 0
        ? {
            tone: 'ok',
            title: `${event.importer} ${STEP[event.stage] ?? event.stage}`,
            detail: [...(who === event.importer ? [] : [who]), duration(event.duration_ns / 1e9)].join(', '),
          }
        : { tone: 'bad', title: `${name} was rejected`, detail: `at ${event.stage}` };
    }
    case 'bind':
      return event.errno === 0
        ? {
            tone: event.violation === 'none' ? 'ok' : 'bad',
            title: event.violation === 'none' ? 'KVM bound it' : `KVM bound it against the rules`,
            detail: event.violation === 'none' ? (event.vm?.name ?? '') : event.violation,
          }
        : { tone: 'bad', title: 'KVM was rejected', detail: 'at bind' };
    case 'unbind':
      return { tone: 'plain', title: 'KVM unbound it', detail: event.vm?.name ?? '' };
    case 'private_read':
      return event.errno === 0
        ? { tone: 'ok', title: `${event.reader} read what it is`, detail: event.privacy }
        : { tone: 'bad', title: `${event.reader} could not read what it is`, detail: '' };
    case 'detach':
      return { tone: 'plain', title: `${event.importer} detached it`, detail: '' };
    case 'unmap':
      return { tone: 'plain', title: `${event.importer} gave its mapping back`, detail: '' };
    case 'buffer_state': {
      const lost = event.lost_mappings === 0 ? '' : `, ${count(event.lost_mappings, 'mapping')} lost`;
      return event.revoked
        ? { tone: 'warn', title: 'Revoked', detail: `${event.cause}${lost}` }
        : { tone: 'ok', title: 'Given back', detail: event.cause };
    }
    case 'revoke_call':
      return {
        tone: event.revoked ? 'warn' : 'ok',
        title: `${event.revoked ? 'Revoked' : 'Gave back'} ${count(event.buffers, 'buffer')} of the device`,
        detail: `${event.cause}, took ${duration(event.duration_ns / 1e9)}`,
      };
    case 'release':
      return { tone: 'plain', title: 'Released', detail: '' };
    case 'incident':
      return {
        tone: event.change === 'opened' && event.incident.severity !== 'info' ? 'warn' : 'plain',
        title: `Incident ${event.change}: ${event.incident.kind}`,
        detail: event.incident.sentence,
      };
    default:
      return event satisfies never;
  }
}
