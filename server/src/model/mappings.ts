import { WALKED_ATTACHMENTS } from '../protocol/codes.ts';
import type { BufferState } from './buffer-state.ts';
import type { ImporterState } from './importers.ts';

/**
 * Attachments and mappings of one importer of one buffer. Events may arrive in another order than they happened, so
 * each function takes the time of its event: `t`, in microseconds since boot. `tracesUnmaps`: whether unmap events are
 * traced.
 */

/** The most implied attachments of one importer that are kept, to match their late attach events. */
const IMPLIED_LIMIT = 16;

export function attach(buffer: BufferState, state: ImporterState, t: number): void {
  buffer.imported = true;
  buffer.attachments.begin(t);
  const { attached, implied } = state;
  if (attached.takeEarlyEnd(t)) return;
  const index = implied.findIndex((mapping) => mapping >= t);
  if (index === -1) attached.begin(t);
  else for (const mapping of implied.splice(index, 1)) attached.move(mapping, t);
  if (attached.count === 1) state.since = t;
}

export function detach(state: ImporterState, t: number, tracesUnmaps: boolean): void {
  const { attached, mapped, mapping } = state;
  if (mapping !== null && t >= mapping.t) mapping.detachedAt = t;
  attached.end(t);
  if (!attached.hasSince(t)) mapped.endAll(t);
  if (!tracesUnmapsOf(state, tracesUnmaps)) mapped.limit(attached.count);
}

export function map(buffer: BufferState, state: ImporterState, t: number, tracesUnmaps: boolean): void {
  const { attached, mapped } = state;
  buffer.imported = true;
  // The detach event arrived first.
  if (t <= attached.endedAt && !attached.hasSince(t)) return;
  if (attached.count === 0) {
    // The mapping implies an attachment that was not traced: it is older than the tracer, or was made in a gap.
    attached.begin(t);
    state.implied = [...state.implied.slice(1 - IMPLIED_LIMIT), t];
    state.since = t;
  }
  const iommufd = state.importer === 'iommufd';
  if (!tracesUnmapsOf(state, tracesUnmaps) && t < (buffer.revokedAt ?? 0)) {
    // The event of the revocation arrived first.
    if (iommufd) buffer.lostMappings += 1;
    return;
  }
  mapped.begin(t);
  if (!iommufd && !tracesUnmapsOf(state, tracesUnmaps)) mapped.limit(attached.count);
}

/**
 * Whether an event reports the end of this importer's mappings. KVM unbinds. iommufd maps the physical range itself and
 * never unmaps.
 */
function tracesUnmapsOf({ importer }: ImporterState, tracesUnmaps: boolean): boolean {
  return importer === 'kvm' || (tracesUnmaps && importer !== 'iommufd');
}

/** iommufd got the memory. Call this before `map`: its call may still fail. */
export function beginMapping(buffer: BufferState, state: ImporterState, pid: number, t: number): void {
  state.mapping = { pid, t, detachedAt: null, before: state.mapped.count, lost: buffer.lostMappings };
  buffer.lostMappings = Math.max(0, buffer.lostMappings - 1);
}

/**
 * Undoes a mapping of iommufd whose call failed after the mapping event, for example because the IOVA is in use.
 * iommufd detaches within the failed call. This distinguishes it from a later call that fails at once. Returns true if
 * there was such a mapping.
 *
 * @param call the failed call: it ended at `t` and took `ns` nanoseconds
 */
export function undoMapping(
  buffer: BufferState,
  state: ImporterState,
  { pid, t, ns }: { pid: number; t: number; ns: number },
): boolean {
  const { mapping } = state;
  const detachedAt = mapping?.detachedAt ?? null;
  if (mapping === null || mapping.pid !== pid || detachedAt === null) return false;
  if (detachedAt > t || detachedAt < t - ns / 1000) return false;
  buffer.lostMappings = Math.max(buffer.lostMappings, mapping.lost);
  state.mapped.limit(mapping.before);
  state.mapping = null;
  return true;
}

/** Corrects the attachments to the number that a snapshot has seen at `t`. */
export function reconcileAttachments(buffer: BufferState, seen: number, t: number): void {
  // The snapshot stops counting at this number. Keep the known count if it is larger.
  const count = seen < WALKED_ATTACHMENTS ? seen : Math.max(seen, buffer.attachments.count);
  buffer.attachments.set(count, t);
  if (count > 0) buffer.imported = true;
  // KVM can hold the buffer by its slot, without an attachment. Another importer has detached without an event, and it
  // is unknown which one. So all other importers are removed.
  const { importers } = buffer;
  if (count === 0) importers.clear();
  else if (importers.named - importers.namedOfKvm > count) {
    for (const state of importers.attached()) if (state.importer !== 'kvm') importers.remove(state);
  }
}
