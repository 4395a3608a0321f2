import type { Cause, Privacy, Reason, Stage } from '../stream/codes.ts';
import type { Holder } from '../stream/wire.ts';
import { deviceAddress } from './naming.ts';
import { type ProcessRecord, vmOfTask } from './processes.ts';
import type { BufferView } from './schema.ts';
import { Tally } from './tally.ts';
import { vmOf } from './vms.ts';

/** One importer's hold on a buffer; without a count it only remembers what has ended. */
export interface Hold {
  importer: string;
  importerDevice: string;
  attached: Tally;
  /** Mappings that the importer has now. */
  mapped: Tally;
  /** When mappings told of attachments that were not seen; their own events may be on their way. */
  implied: number[];
  since: number;
  /** Whose import was the last. */
  task: Task | null;
  /** What iommufd was given last, and what was mapped and lost before: its call may still be refused. */
  mapping: { pid: number; t: number; detachedAt: number | null; before: number; lost: number } | null;
}

/** A task as an event named it, and the process that it was of. */
export interface Task {
  readonly pid: number;
  readonly comm: string;
  /** When; microseconds since boot. */
  readonly t: number;
  process: ProcessRecord | null;
}

/** The last refusal of one importer. */
export interface Refusal {
  importer: string;
  importerDevice: string;
  stage: Stage;
  reason: Reason;
  errno: number;
  count: number;
  at: number;
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
  owner: Task | null;
  /** When its owner has ended; null while it has not. */
  ownerGoneAt: number | null;
  vm: ProcessRecord | null;
  /** Kind of that VM: of VM_KINDS. */
  vmType: number | null;
  /** Who had the VFIO device open at the last snapshot. */
  deviceHolders: readonly ProcessRecord[];
  exportedAt: number | null;
  firstSeenAt: number;
  changedAt: number;
  revoked: boolean;
  /** How old the knowledge of `revoked` is. */
  stateAt: number;
  /** When the memory was last taken away: mappings made before are gone. */
  revokedAt: number | null;
  revokeCause: Cause | null;
  released: boolean;
  lostMappings: number;
  /** Somebody has attached it once. */
  imported: boolean;
  /** When KVM first bound it; null where that was not seen. */
  boundAt: number | null;
  holds: Map<string, Hold>;
  refusals: Map<string, Refusal>;
  attachments: Tally;
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
    ownerGoneAt: null,
    vm: null,
    vmType: null,
    deviceHolders: [],
    exportedAt: null,
    firstSeenAt: t,
    changedAt: t,
    revoked: false,
    stateAt: Number.NEGATIVE_INFINITY,
    revokedAt: null,
    revokeCause: null,
    released: false,
    lostMappings: 0,
    imported: false,
    boundAt: null,
    holds: new Map(),
    refusals: new Map(),
    attachments: new Tally(),
    holders: [],
    holdersAt: null,
  };
}

/** Importers remembered for one buffer beyond those that hold it. */
const MEMORY_LIMIT = 16;

const keyOf = ({ importer, importerDevice }: Pick<Hold, 'importer' | 'importerDevice'>): string =>
  `${importer}\n${importerDevice}`;

/** The hold of an importer, made where it is new. */
export function holdOf(buffer: BufferState, importer: string, importerDevice: string, t: number): Hold {
  const key = keyOf({ importer, importerDevice });
  let hold = buffer.holds.get(key);
  if (hold === undefined) {
    if (buffer.holds.size >= MEMORY_LIMIT) forgetOne(buffer);
    hold = {
      importer,
      importerDevice,
      attached: new Tally(),
      mapped: new Tally(),
      implied: [],
      since: t,
      task: null,
      mapping: null,
    };
    buffer.holds.set(key, hold);
  }
  return hold;
}

/** Holds that are held, not only remembered. */
export function* holdsOf(buffer: BufferState): Generator<Hold> {
  for (const hold of buffer.holds.values()) if (hold.attached.count > 0) yield hold;
}

export function forget(buffer: BufferState, hold: Hold): void {
  buffer.holds.delete(keyOf(hold));
}

function forgetOne(buffer: BufferState): void {
  for (const [key, hold] of buffer.holds) {
    if (hold.attached.count > 0) continue;
    buffer.holds.delete(key);
    return;
  }
}

export function noteRefusal(buffer: BufferState, refusal: Omit<Refusal, 'count'>): void {
  const key = keyOf(refusal);
  const count = (buffer.refusals.get(key)?.count ?? 0) + 1;
  buffer.refusals.delete(key);
  if (buffer.refusals.size >= MEMORY_LIMIT) {
    const oldest = buffer.refusals.keys().next();
    if (!oldest.done) buffer.refusals.delete(oldest.value);
  }
  buffer.refusals.set(key, { ...refusal, count });
}

/**
 * Takes the memory away from all importers. iommufd never maps again by itself, so its mappings are lost; KVM's slot stays
 * bound. The others are told to give theirs back: where unmaps are watched these tell when they have, else it counts as
 * done. Gives the number of mappings lost.
 */
export function revoke(buffer: BufferState, t: number, watchesUnmaps: boolean): number {
  buffer.revokedAt = Math.max(buffer.revokedAt ?? t, t);
  let lost = 0;
  for (const hold of buffer.holds.values()) {
    if (hold.importer === 'kvm') continue;
    if (hold.importer === 'iommufd') lost += hold.mapped.endAll(t);
    else if (!watchesUnmaps) hold.mapped.endAll(t);
  }
  buffer.lostMappings += lost;
  return lost;
}

/** Notes whether the memory may be mapped, unless something newer is known. */
export function noteState(buffer: BufferState, t: number, revoked: boolean, cause: Cause | null): void {
  if (t < buffer.stateAt) return;
  buffer.stateAt = t;
  buffer.revoked = revoked;
  buffer.revokeCause = revoked ? cause : null;
}

export interface ViewContext {
  /** Turns microseconds since boot into ISO 8601. */
  time: (micros: number) => string;
  /** What people call the PCI device of this name. */
  interfaceOf: (device: string) => string | null;
}

/** The buffer as the world sees it. */
export function bufferView(buffer: BufferState, { time, interfaceOf }: ViewContext): BufferView {
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
    owner:
      buffer.owner === null
        ? null
        : { pid: buffer.owner.pid, comm: buffer.owner.comm, gone: buffer.ownerGoneAt !== null },
    vm: vmOf(buffer),
    exported_at: timeOrNull(buffer.exportedAt),
    changed_at: time(buffer.changedAt),
    revoke_cause: buffer.revokeCause,
    lost_mappings: buffer.lostMappings,
    attachments: Array.from(holdsOf(buffer), (hold) => ({
      importer: hold.importer,
      importer_device: hold.importerDevice,
      count: hold.attached.count,
      mapped: hold.mapped.count > 0,
      since: time(hold.since),
      importer_interface: interfaceOf(hold.importerDevice),
      task: hold.task === null ? null : { pid: hold.task.pid, comm: hold.task.comm },
      by_vm: vmOfTask(hold.task?.process ?? null),
    })),
    attachment_count: buffer.attachments.count,
    holders: buffer.holders.map((holder) => ({ ...holder })),
    holders_at: timeOrNull(buffer.holdersAt),
  };
}
