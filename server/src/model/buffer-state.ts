import type { Cause, Privacy } from '../stream/codes.ts';
import type { Holder } from '../stream/wire.ts';
import { deviceAddress } from './naming.ts';
import { type ProcessRecord, vmRef } from './processes.ts';
import type { BufferView } from './schema.ts';

/** One importer's hold on a buffer. */
export interface Hold {
  importer: string;
  importerDevice: string;
  count: number;
  /** How many of `count` are mapped now. */
  mapped: number;
  since: number;
}

/** All that is known of one buffer; times are microseconds since boot. */
export interface BufferState {
  inode: number;
  device: number;
  region: number | null;
  ranges: number;
  bytes: number;
  privacy: Privacy;
  bornRevoked: boolean;
  preexisting: boolean;
  owner: { pid: number; comm: string; gone: boolean } | null;
  vm: ProcessRecord | null;
  exportedAt: number | null;
  firstSeenAt: number;
  changedAt: number;
  revoked: boolean;
  revokeCause: Cause | null;
  released: boolean;
  lostMappings: number;
  holds: Map<string, Hold>;
  attachmentCount: number;
  holders: Holder[];
  holdersAt: number | null;
}

export function newBuffer(inode: number, t: number): BufferState {
  return {
    inode,
    device: 0,
    region: null,
    ranges: 0,
    bytes: 0,
    privacy: 'undeclared',
    bornRevoked: false,
    preexisting: true,
    owner: null,
    vm: null,
    exportedAt: null,
    firstSeenAt: t,
    changedAt: t,
    revoked: false,
    revokeCause: null,
    released: false,
    lostMappings: 0,
    holds: new Map(),
    attachmentCount: 0,
    holders: [],
    holdersAt: null,
  };
}

/** The hold of an importer, made where it is new. */
export function holdOf(buffer: BufferState, importer: string, importerDevice: string, t: number): Hold {
  const key = `${importer}\n${importerDevice}`;
  let hold = buffer.holds.get(key);
  if (hold === undefined) {
    hold = { importer, importerDevice, count: 0, mapped: 0, since: t };
    buffer.holds.set(key, hold);
  }
  return hold;
}

export function dropHold(buffer: BufferState, importer: string, importerDevice: string): void {
  const key = `${importer}\n${importerDevice}`;
  const hold = buffer.holds.get(key);
  if (hold === undefined) return;
  hold.count -= 1;
  hold.mapped = Math.min(hold.mapped, hold.count);
  if (hold.count <= 0) buffer.holds.delete(key);
}

/**
 * Takes the memory away from all importers. iommufd never maps again by itself, so its mappings are lost; the others are
 * told to give theirs back and map again. KVM's slot stays bound. Gives the number of mappings lost.
 */
export function revoke(buffer: BufferState, cause: Cause | null): number {
  buffer.revoked = true;
  buffer.revokeCause = cause;
  let lost = 0;
  for (const hold of buffer.holds.values()) {
    if (hold.importer === 'kvm') continue;
    if (hold.importer === 'iommufd') lost += hold.mapped;
    hold.mapped = 0;
  }
  buffer.lostMappings += lost;
  return lost;
}

export function restore(buffer: BufferState): void {
  buffer.revoked = false;
  buffer.revokeCause = null;
}

/** The buffer as the world sees it; `time` turns microseconds since boot into ISO 8601. */
export function bufferView(buffer: BufferState, time: (micros: number) => string): BufferView {
  const timeOrNull = (micros: number | null) => (micros === null ? null : time(micros));
  return {
    inode: buffer.inode,
    state: buffer.released ? 'released' : buffer.revoked ? 'revoked' : 'live',
    device: deviceAddress(buffer.device),
    region: buffer.region,
    ranges: buffer.ranges,
    bytes: buffer.bytes,
    privacy: buffer.privacy,
    born_revoked: buffer.bornRevoked,
    preexisting: buffer.preexisting,
    owner: buffer.owner === null ? null : { ...buffer.owner },
    vm: vmRef(buffer.vm),
    exported_at: timeOrNull(buffer.exportedAt),
    changed_at: time(buffer.changedAt),
    revoke_cause: buffer.revokeCause,
    lost_mappings: buffer.lostMappings,
    attachments: [...buffer.holds.values()].map((hold) => ({
      importer: hold.importer,
      importer_device: hold.importerDevice,
      count: hold.count,
      mapped: hold.mapped > 0,
      since: time(hold.since),
    })),
    attachment_count: buffer.attachmentCount,
    holders: buffer.holders.map((holder) => ({ ...holder })),
    holders_at: timeOrNull(buffer.holdersAt),
  };
}
