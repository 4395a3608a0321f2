import type { Closing, Incident, IncidentKind } from '../contract/schema.ts';
import type { Accounting } from '../model/accounting.ts';
import type { BufferState } from '../model/buffer-state.ts';
import type { BufferTable } from '../model/buffers.ts';
import { importerName, vmKind } from '../model/naming.ts';
import type { ProcessRecord, ProcessTable } from '../model/processes.ts';
import type { EventRecord, TupleOf } from '../protocol/tuples.ts';
import type { Dialect, Snapshot, SnapshotBuffer } from '../protocol/wire.ts';
import { Deadlines } from './deadlines.ts';
import { isExact } from './exactness.ts';
import { type RevokeCall, RevokeCalls } from './revoke-calls.ts';
import {
  attachedTo,
  holdersOf,
  type IncidentFacts,
  type IncidentState,
  IncidentStore,
  named,
} from './store.ts';

export interface IncidentLimits {
  /**
   * Duration of a revocation above which an incident opens; default 1 s. All durations are microseconds of stream time.
   */
  revokeWaitUs: number;
  /** Time for which a buffer may outlive its owner; default 10 s. */
  orphanUs: number;
  /** Time for which an export may have no importer; default 5 min. */
  neverImportedUs: number;
  /** The most open incidents of each kind; default 500. */
  open: number;
  /** The most closed incidents that are kept, over all kinds; default 500. */
  closed: number;
}

export const INCIDENT_LIMITS: IncidentLimits = {
  revokeWaitUs: 1_000_000,
  orphanUs: 10_000_000,
  neverImportedUs: 300_000_000,
  open: 500,
  closed: 500,
};

/** The most closed incidents that are kept for a late end of their call. */
const CLOSED_WITHOUT_END_LIMIT = 256;

export interface IncidentWatchOptions {
  buffers: BufferTable;
  processes: ProcessTable;
  accounting: Accounting;
  limits: IncidentLimits;
  /** Whether incidents of this kind can be detected. */
  detects: (kind: IncidentKind) => boolean;
}

type Data<K extends EventRecord['type']> = TupleOf<K>['data'];
type Importer = Incident['importers'][number];
type CallFacts = Pick<RevokeCall, 'device' | 'began' | 'pid' | 'comm' | 'cause'>;

/** Kinds of VM whose memory is hidden from the host. */
const CONFIDENTIAL: readonly string[] = ['sev', 'sev_es', 'snp', 'tdx'];

/** The most recent events that are kept for events that arrive out of order. */
const RECENT_LIMIT = 64;

/** Detects incidents in events and in the state of the buffers. Call it after the buffers have applied a record. */
export class IncidentWatch {
  readonly book: IncidentStore;
  /** Begin of the last complete snapshot. */
  snapshotAt: number | null = null;
  dialect: Dialect = 'none';
  readonly #options: IncidentWatchOptions;
  readonly #calls = new RevokeCalls();
  readonly #neverImported = new Deadlines();
  readonly #orphans = new Deadlines();
  /** The last incident of each device that was closed without the end of its call. That event may only be late. */
  readonly #closedWithoutEnd = new Map<number, IncidentState>();
  /** Attaches of buffers that are not known to be private: the event of the export or bind may still arrive. */
  #attaches: Data<'import'>[] = [];
  #unbinds: Data<'unbind'>[] = [];

  constructor(options: IncidentWatchOptions) {
    this.#options = options;
    this.book = new IncidentStore(options.limits.open, options.limits.closed);
    options.buffers.beforeRelease = (buffer) => this.#keepHolders(buffer);
  }

  event(record: EventRecord): void {
    switch (record.type) {
      case 'export':
        this.#exported(record.data);
        break;
      case 'import':
        if (record.data.stage === 'attach') this.#attached(record.data);
        else if (record.data.errno === 0) this.#mapped(record.data);
        break;
      case 'bind':
        this.#bound(record.data);
        break;
      case 'unbind':
        this.#unbound(record.data);
        break;
      case 'buffer_state':
        this.#buffer(record.data);
        break;
      case 'revoke_call':
        this.#revokeEnded(record.data);
        return;
      case 'release':
      case 'detach':
      case 'unmap':
      case 'private_read':
        break;
      default:
        record satisfies never;
    }
    const buffer = this.#options.buffers.get(record.data.inode);
    if (buffer !== undefined) this.#settle(buffer, record.data.t);
  }

  processExited(process: ProcessRecord): void {
    const { goneAt } = process;
    if (goneAt === null) return;
    for (const buffer of this.#options.buffers.ownedBy(process)) this.#orphans.add(buffer.inode, goneAt);
    for (const incident of this.book.ofVm(process)) {
      if (isBind(incident)) this.#close(incident, goneAt, 'vm_gone');
    }
  }

  /** Applies a snapshot. Call it after the buffers were reconciled; `gone` are the buffers that no longer exist. */
  snapshot({ complete, t_begin, t_end, buffers: found }: Snapshot, gone: readonly BufferState[]): void {
    if (complete) this.snapshotAt = t_begin;
    const { buffers, accounting } = this.#options;
    for (const incident of this.book.open()) {
      if (incident.buffer !== null) this.#settle(incident.buffer, t_end, 'snapshot');
    }
    for (const buffer of gone) this.#settle(buffer, t_end, 'snapshot');
    for (const seen of found) this.#found(seen, t_begin);
    for (const { inode } of found) {
      const buffer = buffers.get(inode);
      if (buffer !== undefined && !buffer.released) this.#settle(buffer, t_end, 'snapshot');
    }
    if (!complete) return;
    for (const call of this.#calls.running()) {
      const lost = accounting.lastLossAt >= call.began && t_begin >= accounting.lastLossAt;
      if (t_begin <= call.began) continue;
      if (this.#isOver(call) || (lost && !this.#hasWaiters(call))) this.#dropCall(call, t_end, 'snapshot');
    }
  }

  /** Opens incidents for conditions that have lasted too long at time `t` of the stream. */
  advance(t: number): void {
    const { buffers, limits, detects } = this.#options;
    for (const call of this.#calls.due(t - limits.revokeWaitUs)) this.#waits(call);
    for (const { key, since } of this.#neverImported.due(t - limits.neverImportedUs)) {
      const buffer = buffers.get(key);
      if (buffer !== undefined && !buffer.released && !buffer.imported && detects('never_imported')) {
        this.#admit('never_imported', buffer, since, since + limits.neverImportedUs);
      }
    }
    for (const { key, since } of this.#orphans.due(t - limits.orphanUs)) {
      const buffer = buffers.get(key);
      if (buffer !== undefined && !buffer.released && buffer.ownerGoneAt !== null && detects('orphaned')) {
        this.#admit('orphaned', buffer, since, since + limits.orphanUs);
      }
    }
  }

  /** Importers that still have mappings of the buffers that the running revocation of a device revokes. */
  waitedFor(device: number): IncidentFacts['importers'] {
    const call = this.#calls.of(device);
    if (call === undefined) return named([]);
    let all = 0;
    for (const inode of call.buffers) all += this.#options.buffers.get(inode)?.importers.waiters ?? 0;
    return named(this.#waitedFor(call), all);
  }

  /** Whether an open incident is exact: its end cannot have been missed. */
  isExact(incident: IncidentState): boolean {
    return isExact(incident, this.#options.accounting.lastLossAt, this.snapshotAt);
  }

  #exported(data: Data<'export'>): void {
    if (data.errno !== 0) return;
    const buffer = this.#options.buffers.get(data.inode);
    if (buffer === undefined) return;
    if (data.born_revoked) this.#admit('born_revoked', buffer, data.t, data.t);
    if (data.privacy === 'private' && !data.kvm) this.#admit('private_without_vm', buffer, data.t, data.t);
    if (!buffer.released) {
      this.#neverImported.add(data.inode, data.t);
      if (buffer.ownerGoneAt !== null) this.#orphans.add(data.inode, buffer.ownerGoneAt);
    }
    this.#attachedBefore(buffer);
  }

  /** Opens incidents from a snapshot: their events may be older than the tracer, or lost in a gap. */
  #found(seen: SnapshotBuffer, t: number): void {
    const buffer = this.#options.buffers.get(seen.inode);
    if (buffer === undefined || buffer.released) return;
    this.#attachedBefore(buffer);
    // Whether a device has a VM does not change while it is open. So this was true at the export too.
    if (buffer.privacy === 'private' && seen.device !== 0 && seen.kvm === false)
      this.#admit('private_without_vm', buffer, buffer.firstSeenAt, t);
    if (this.#isConfidential(buffer) && buffer.attachments.count > buffer.importers.named) {
      const subject = `${buffer.inode}\nunknown\n`;
      const incident = this.#admit('confidential_shared', buffer, buffer.firstSeenAt, t, subject);
      if (incident !== null)
        incident.importers = named([{ importer: 'unknown', importer_device: '', inode: buffer.inode }]);
    }
  }

  /**
   * Whether the buffer belongs to a confidential VM on a kernel without private exports. Only the VM's kind shows it
   * there.
   */
  #isConfidential({ vmType }: BufferState): boolean {
    return this.dialect === 'mainline' && CONFIDENTIAL.includes(vmKind(vmType));
  }

  #attached(data: Data<'import'>): void {
    if (importerName(data.importer) === 'kvm') return;
    const buffer = this.#options.buffers.get(data.inode);
    if (buffer !== undefined && this.#isOffer(buffer, data)) return;
    this.#attaches.push(data);
    if (this.#attaches.length > RECENT_LIMIT) this.#attaches.shift();
  }

  #attachedBefore(buffer: BufferState): void {
    this.#attaches = this.#attaches.filter(
      (data) => data.inode !== buffer.inode || !this.#isOffer(buffer, data),
    );
  }

  /**
   * If this attach, by an importer other than KVM, is of private or confidential memory: opens an incident and returns
   * true.
   */
  #isOffer(buffer: BufferState, data: Data<'import'>): boolean {
    const declared = buffer.privacy === 'private';
    const bound = this.dialect === 'private-v2' && buffer.boundAt !== null && data.t >= buffer.boundAt;
    const confidential = data.errno === 0 && this.#isConfidential(buffer);
    if (!declared && !bound && !confidential) return false;
    const importer = importerName(data.importer);
    const subject = `${buffer.inode}\n${importer}\n${data.importer_device}`;
    const kind = declared || bound ? 'private_offered' : 'confidential_shared';
    const known = this.book.get(kind, subject);
    const incident = this.#admit(kind, buffer, data.t, data.t, subject);
    if (incident === null) return true;
    if (incident === known) incident.count += 1;
    incident.importers = named([{ importer, importer_device: data.importer_device, inode: buffer.inode }]);
    incident.offers ??= { accepted: 0, rejected: 0, reason: 'none', declared };
    if (data.errno === 0) incident.offers.accepted += 1;
    else {
      incident.offers.rejected += 1;
      incident.offers.reason = data.reason;
    }
    return true;
  }

  #bound(data: Data<'bind'>): void {
    const { buffers, processes } = this.#options;
    const { t, inode, device, violation, vm_pid } = data;
    const buffer = buffers.get(inode) ?? null;
    if (buffer !== null && data.errno === 0) this.#attachedBefore(buffer);
    if (violation !== 'foreign_vm' && violation !== 'accepted_not_vfio') return;
    const subject = `${inode}\n${vm_pid}`;
    const known = this.book.get(violation, subject);
    // vm_pid is only the thread that created the VM. KVM accepts a bind only from the VM's process (kvm->mm), so use
    // data.pid.
    const vm = processes.at(data.pid, t);
    const facts = { since: t, device: device || (buffer?.device ?? 0), inode, buffer, vm };
    const incident = this.book.admit(violation, subject, t, facts);
    if (incident === null) return;
    if (incident === known) incident.count += 1;
    const unbound = this.#unbinds.find((unbind) => ends(unbind, incident) && unbind.t >= t);
    if (unbound !== undefined) this.#close(incident, unbound.t, 'unbound');
    else if (vm !== null && vm.goneAt !== null) this.#close(incident, vm.goneAt, 'vm_gone');
  }

  #unbound(data: Data<'unbind'>): void {
    this.#unbinds.push(data);
    if (this.#unbinds.length > RECENT_LIMIT) this.#unbinds.shift();
    for (const incident of this.book.ofBuffer(data.inode)) {
      if (isBind(incident) && ends(data, incident) && data.t >= incident.since)
        this.#close(incident, data.t, 'unbound');
    }
  }

  #buffer(data: Data<'buffer_state'>): void {
    const before = this.#calls.buffer(data);
    if (before !== null) this.#closeWithoutEnd(before, data.t, 'next_call');
    const call = this.#calls.of(data.device);
    const incident = this.book.get('revoke_waiting', String(data.device));
    if (call !== undefined && incident !== undefined) this.#nameWaiters(incident, call, data.inode);
  }

  /** A revocation also waits for a mapping whose event arrives late. */
  #mapped({ device, inode }: Data<'import'>): void {
    const call = this.#calls.of(device || (this.#options.buffers.get(inode)?.device ?? 0));
    if (call === undefined) return;
    const incident = this.book.get('revoke_waiting', String(call.device));
    if (incident !== undefined) this.#nameWaiters(incident, call, inode);
  }

  #nameWaiters(incident: IncidentState, { buffers }: RevokeCall, inode: number): void {
    const buffer = this.#options.buffers.get(inode);
    if (buffer === undefined || !buffers.has(inode)) return;
    this.#name(incident, waitersOf(buffer), buffer.importers.waiters);
  }

  #revokeEnded(data: Data<'revoke_call'>): void {
    const ended = this.#calls.end(data);
    if (ended !== null && !ended.seen) this.#closeWithoutEnd(ended.call, data.t, 'next_call');
    if (!data.revoked) return;
    const { t, device } = data;
    const waitedUs = Math.round(data.ns / 1000);
    const since = ended?.seen ? ended.call.began : t - waitedUs;
    const late = this.#closedWithoutEnd.get(device);
    const open = this.book.get('revoke_waiting', String(device));
    if (open === undefined && late !== undefined && late.since >= t - waitedUs && late.since <= t) {
      // The incident was closed because the end of its call seemed lost. It was only late: correct the incident.
      Object.assign(late, { closedAt: t, closedBy: 'revoke_ended', waitedUs, exact: true });
      this.#closedWithoutEnd.delete(device);
      return;
    }
    if (open === undefined && waitedUs < this.#options.limits.revokeWaitUs) return;
    const call = ended?.call ?? { ...data, began: since };
    const incident = open ?? this.#admitCall(call);
    if (incident === null) return;
    incident.waitedUs = waitedUs;
    this.book.close(incident, t, 'revoke_ended', true);
  }

  #waits(call: RevokeCall): void {
    if (this.book.get('revoke_waiting', String(call.device)) !== undefined) return;
    const incident = this.#admitCall(call);
    if (incident !== null) incident.importers = this.waitedFor(call.device);
  }

  #admitCall({ device, began: since, pid, comm, cause }: CallFacts): IncidentState | null {
    const openedAt = since + this.#options.limits.revokeWaitUs;
    const call = { pid, comm, cause };
    return this.book.admit('revoke_waiting', String(device), openedAt, { since, device, call });
  }

  /**
   * Adds importers, `count` in total, to those that the incident names. When the wait is over, their mappings no longer
   * exist.
   */
  #name(incident: IncidentState, waiters: Iterable<Importer>, count: number): void {
    const { shown, more } = incident.importers;
    const known = new Set(shown.map(keyOf));
    const fresh = named(waiters, count);
    const all = [...shown, ...fresh.shown.filter((importer) => !known.has(keyOf(importer)))];
    const joined = named(all);
    incident.importers = { shown: joined.shown, more: Math.max(more, fresh.more) + joined.more };
  }

  *#waitedFor(call: RevokeCall): Generator<Importer> {
    for (const inode of call.buffers) {
      const buffer = this.#options.buffers.get(inode);
      if (buffer !== undefined) yield* waitersOf(buffer);
    }
  }

  #hasWaiters(call: RevokeCall): boolean {
    return this.#waitedFor(call).next().done !== true;
  }

  /** Whether the call cannot be waiting: all its buffers are released, restored, or have no attachments. */
  #isOver({ unsettled }: RevokeCall): boolean {
    for (let left = unsettled.size; left > 0; left -= 1) {
      const inode = unsettled.oldest() ?? 0;
      const buffer = this.#options.buffers.get(inode);
      if (buffer === undefined || buffer.released) unsettled.delete(inode);
      else if (buffer.revoked && buffer.attachments.count > 0) return false;
      // It may be revoked or attached again, so keep it and check it after the others.
      else unsettled.set(inode, true);
    }
    return true;
  }

  #dropCall(call: RevokeCall, t: number, by: Closing): void {
    this.#calls.drop(call);
    this.#closeWithoutEnd(call, t, by);
  }

  #closeWithoutEnd(call: RevokeCall, t: number, by: Closing): void {
    const incident = this.book.get('revoke_waiting', String(call.device));
    if (incident === undefined) return;
    this.book.close(incident, t, by, false);
    this.#closedWithoutEnd.delete(call.device);
    this.#closedWithoutEnd.set(call.device, incident);
    if (this.#closedWithoutEnd.size <= CLOSED_WITHOUT_END_LIMIT) return;
    // The end of the oldest one is no longer late: it was lost.
    const oldest = this.#closedWithoutEnd.keys().next();
    if (!oldest.done) this.#closedWithoutEnd.delete(oldest.value);
  }

  /** Opens and closes the incidents that follow from the state of a buffer. */
  #settle(buffer: BufferState, t: number, by?: Closing): void {
    const close = (kind: IncidentKind, closing: Closing): void => {
      const incident = this.book.get(kind, String(buffer.inode));
      if (incident !== undefined) this.#close(incident, t, by ?? closing);
    };
    if (buffer.released) {
      this.#neverImported.delete(buffer.inode);
      this.#orphans.delete(buffer.inode);
      for (const incident of this.book.ofBuffer(buffer.inode)) {
        this.#close(incident, buffer.changedAt, by ?? 'released');
      }
      const call = this.#calls.of(buffer.device);
      if (call?.buffers.has(buffer.inode) && this.#isOver(call)) this.#dropCall(call, t, by ?? 'released');
      return;
    }
    if (buffer.lostMappings > 0) {
      const since = buffer.revokedAt ?? t;
      const incident = this.#admit('mappings_lost', buffer, since, since);
      if (incident !== null) incident.count = buffer.lostMappings;
    } else close('mappings_lost', 'mapped_again');
    if (!buffer.revoked) close('born_revoked', 'restored');
    if (buffer.imported) {
      this.#neverImported.delete(buffer.inode);
      close('never_imported', 'imported');
    }
  }

  /** Copies the last importers and holders into an orphan incident, because a released buffer has none. */
  #keepHolders(buffer: BufferState): void {
    const orphan = this.book.get('orphaned', String(buffer.inode));
    if (orphan === undefined) return;
    orphan.holders = holdersOf(buffer);
    orphan.importers = attachedTo(buffer);
  }

  #admit(
    kind: IncidentKind,
    buffer: BufferState,
    since: number,
    openedAt: number,
    subject = String(buffer.inode),
  ): IncidentState | null {
    const { inode, device } = buffer;
    return this.book.admit(kind, subject, openedAt, { since, device, inode, buffer });
  }

  #close(incident: IncidentState, t: number, by: Closing): void {
    this.book.close(incident, t, by, by !== 'snapshot' && this.isExact(incident));
  }
}

function keyOf({ importer, importer_device, inode }: Importer): string {
  return `${inode}\n${importer}\n${importer_device}`;
}

function* waitersOf({ inode, importers }: BufferState): Generator<Importer> {
  for (const { importer, importerDevice } of importers.waitedFor())
    yield { importer, importer_device: importerDevice, inode };
}

function isBind({ kind }: IncidentState): boolean {
  return kind === 'foreign_vm' || kind === 'accepted_not_vfio';
}

/**
 * Whether an unbind ends an incident. As for a bind, the task identifies the VM. The event's VM is that of the buffer's
 * device.
 */
function ends(unbind: Data<'unbind'>, incident: IncidentState): boolean {
  return unbind.inode === incident.inode && unbind.pid === incident.vm?.pid;
}
