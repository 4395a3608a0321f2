import { FifoMap } from '../lib/fifo-map.ts';
import type { Cause, Reason, Stage } from '../protocol/codes.ts';
import type { Holder } from '../protocol/wire.ts';
import type { BufferTotals, CountedBuffer } from './buffer-totals.ts';
import { Importers } from './importers.ts';
import { IntervalSet } from './interval-set.ts';
import { leaderOf, type ProcessRecord, type Task } from './processes.ts';

/** The last rejection of one importer. */
export interface Rejection {
  importer: string;
  importerDevice: string;
  stage: Stage;
  reason: Reason;
  errno: number;
  count: number;
  at: number;
}

/** The state of one buffer. Times are microseconds since boot. */
export interface BufferState extends CountedBuffer {
  inode: number;
  region: number | null;
  ranges: number;
  bornRevoked: boolean;
  preexisting: boolean;
  owner: Task | null;
  /** When its owner ended; null while the owner runs. */
  ownerGoneAt: number | null;
  vm: ProcessRecord | null;
  /** Kind of that VM: an index of VM_KINDS. */
  vmType: number | null;
  /** Processes that had the VFIO device open at the last snapshot. */
  deviceHolders: readonly ProcessRecord[];
  exportedAt: number | null;
  firstSeenAt: number;
  changedAt: number;
  /** The time that `revoked` is known for. */
  stateAt: number;
  /** When the memory was last revoked. Mappings made before were removed. */
  revokedAt: number | null;
  revokeCause: Cause | null;
  released: boolean;
  /** An importer has attached it at least once. */
  imported: boolean;
  /** When KVM first bound it; null if no bind was traced. */
  boundAt: number | null;
  rejections: FifoMap<string, Rejection>;
  holders: Holder[];
  holdersAt: number | null;
}

export function newBuffer(inode: number, t: number, totals: BufferTotals): BufferState {
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
    importers: new Importers(totals),
    rejections: new FifoMap(),
    attachments: new IntervalSet(),
    holders: [],
    holdersAt: null,
    counted: null,
  };
}

/** The most importers of one buffer whose last rejection is kept. */
const REJECTIONS_LIMIT = 16;

export function recordRejection(buffer: BufferState, rejection: Omit<Rejection, 'count'>): void {
  const key = `${rejection.importer}\n${rejection.importerDevice}`;
  const count = (buffer.rejections.get(key)?.count ?? 0) + 1;
  buffer.rejections.set(key, { ...rejection, count });
  buffer.rejections.limit(REJECTIONS_LIMIT);
}

/**
 * Revokes the memory from all importers. iommufd never remaps by itself, so its mappings are lost. KVM's slot stays
 * bound. The other importers are asked to unmap: if unmaps are traced, their events end the mappings. Otherwise the
 * mappings end now. Returns the number of lost mappings.
 */
export function revoke(buffer: BufferState, t: number, tracesUnmaps: boolean): number {
  buffer.revokedAt = Math.max(buffer.revokedAt ?? t, t);
  const { importers } = buffer;
  let lost = 0;
  for (const state of importers.mappedByIommufd()) {
    lost += state.mapped.endAll(t);
    importers.update(state);
  }
  if (!tracesUnmaps) {
    for (const state of importers.mappedByOthers()) {
      state.mapped.endAll(t);
      importers.update(state);
    }
  }
  buffer.lostMappings += lost;
  return lost;
}

/** Sets whether the memory is revoked, unless a newer state is known. */
export function setRevoked(buffer: BufferState, t: number, revoked: boolean, cause: Cause | null): void {
  if (t < buffer.stateAt) return;
  buffer.stateAt = t;
  buffer.revoked = revoked;
  buffer.revokeCause = revoked ? cause : null;
}

/** Updates the sets of buffers that name a process as their owner or VM. */
export function relink(buffer: BufferState, before: ProcessRecord | null, after: ProcessRecord | null): void {
  if (before !== null && before !== buffer.owner?.process && before !== buffer.vm)
    before.buffers?.delete(buffer.inode);
  if (after === null) return;
  after.buffers ??= new Set();
  after.buffers.add(buffer.inode);
}

/** The process whose end makes the buffer an orphan: the exporting task, or its VM if the export was not traced. */
export function ownerOf({ owner, vm }: BufferState): ProcessRecord | null {
  if (owner !== null) return owner.process;
  return vm === null ? null : leaderOf(vm);
}
