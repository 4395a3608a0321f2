import { FifoMap } from '../lib/fifo-map.ts';
import { PRIVACIES } from '../protocol/codes.ts';
import type { EventRecord, TupleKind, TupleOf } from '../protocol/tuples.ts';
import type { Snapshot, SnapshotBuffer } from '../protocol/wire.ts';
import {
  type BufferState,
  newBuffer,
  ownerOf,
  recordRejection,
  relink,
  revoke,
  setRevoked,
} from './buffer-state.ts';
import { BufferTotals } from './buffer-totals.ts';
import type { DeviceHolders } from './idle-devices.ts';
import type { ImporterState } from './importers.ts';
import { attach, beginMapping, detach, map, reconcileAttachments, undoMapping } from './mappings.ts';
import { importerName } from './naming.ts';
import { leaderOf, type ProcessRecord, type ProcessTable, type Takeover, type Task } from './processes.ts';
import { deviceHolders, type VmTable } from './vms.ts';

type Data<K extends TupleKind> = TupleOf<K>['data'];

/** All buffers by inode, which the kernel never reuses within a boot. The last released buffers are kept. */
export class BufferTable {
  readonly totals = new BufferTotals();
  readonly #processes: ProcessTable;
  readonly #vms: VmTable;
  readonly #historyLimit: number;
  readonly #alive = new Map<number, BufferState>();
  /** Also tombstones: a snapshot that began before the release must not insert the buffer again. */
  readonly #released = new FifoMap<number, BufferState>();
  /** Whether unmap events are traced. Otherwise a revocation ends all mappings. */
  tracesUnmaps = false;
  /** Null before the first snapshot that lists the holders of devices. */
  deviceHolders: DeviceHolders | null = null;
  /** Called before the importers and holders of a released buffer are discarded. */
  beforeRelease: (buffer: BufferState) => void = () => {};

  constructor(processes: ProcessTable, vms: VmTable, historyLimit: number) {
    this.#processes = processes;
    this.#vms = vms;
    this.#historyLimit = historyLimit;
  }

  alive(): IterableIterator<BufferState> {
    return this.#alive.values();
  }

  /** The number of wanted buffers, and the first `limit` of them: those that are live or revoked come first. */
  find(isWanted: (buffer: BufferState) => boolean, limit: number): { total: number; buffers: BufferState[] } {
    const buffers: BufferState[] = [];
    let total = 0;
    for (const some of [this.#alive.values(), this.#released.values()]) {
      for (const buffer of some) {
        if (!isWanted(buffer)) continue;
        total += 1;
        if (total <= limit) buffers.push(buffer);
      }
    }
    return { total, buffers };
  }

  get(inode: number): BufferState | undefined {
    return this.#alive.get(inode) ?? this.#released.get(inode);
  }

  /** Applies an event. Returns the number of mappings that were lost. */
  apply(record: EventRecord): number {
    switch (record.type) {
      case 'export':
        this.#exported(record.data);
        return 0;
      case 'release': {
        const { inode, t } = record.data;
        const buffer = this.get(inode) ?? newBuffer(inode, t, this.totals);
        if (!buffer.released) this.#markReleased(buffer, t);
        return 0;
      }
      case 'import':
        this.#imported(record.data);
        return 0;
      case 'detach':
        this.#detached(record.data);
        return 0;
      case 'unmap':
        this.#unmapped(record.data);
        return 0;
      case 'buffer_state':
        return this.#stateChanged(record.data);
      case 'bind':
        this.#bound(record.data);
        return 0;
      case 'unbind':
        this.#unbound(record.data);
        return 0;
      case 'late_release':
      case 'revoke_call':
      case 'private_read':
      case 'zap':
        return 0;
      default:
        return record satisfies never;
    }
  }

  #exported(data: Data<'export'>): void {
    if (data.errno !== 0 || data.inode === 0) return;
    // The release may arrive first, from another processor. Then the export only completes the released buffer.
    const known = this.get(data.inode);
    const buffer = known ?? newBuffer(data.inode, data.t, this.totals);
    if (data.device !== 0) buffer.device = data.device;
    buffer.region = data.region;
    buffer.ranges = data.ranges;
    buffer.bytes = data.bytes;
    buffer.privacy = data.privacy;
    buffer.bornRevoked = data.born_revoked;
    buffer.preexisting = false;
    const { pid, comm, t } = data;
    const process = this.#processes.at(pid, t);
    this.#setOwner(buffer, { pid, comm, t, process });
    buffer.ownerGoneAt = process?.goneAt ?? null;
    this.#setVm(buffer, this.#processes.at(data.kvm_pid, t, data.vm_type) ?? buffer.vm);
    if (data.kvm_pid !== 0) buffer.vmType = data.vm_type;
    buffer.exportedAt = t;
    this.#vms.note(buffer);
    if (buffer.released) return;
    setRevoked(buffer, data.t, data.born_revoked, null);
    this.#alive.set(data.inode, buffer);
    this.totals.update(buffer);
  }

  #imported(data: Data<'import'>): void {
    if (data.errno !== 0) {
      this.#rejected(data, data.stage, data.importer, data.importer_device);
      if (data.stage === 'iommufd') this.#undoMapping(data);
      return;
    }
    const buffer = this.#touched(data.inode, data.device, data.t);
    if (buffer === null) return;
    // A fault changes neither attachments nor mappings.
    if (data.stage === 'get_pfn') return;
    const state = buffer.importers.get(importerName(data.importer), data.importer_device, data.t);
    const { pid, comm, t } = data;
    buffer.importers.setTask(state, { pid, comm, t, process: this.#processes.at(pid, t) });
    switch (data.stage) {
      case 'attach':
        attach(buffer, state, t);
        break;
      case 'iommufd':
        beginMapping(buffer, state, pid, t);
        map(buffer, state, t, this.tracesUnmaps);
        break;
      case 'map':
        state.route = data.route;
        map(buffer, state, t, this.tracesUnmaps);
        break;
      case 'bind':
      case 'unknown':
        map(buffer, state, t, this.tracesUnmaps);
        break;
      case 'pin':
      case 'vmap':
      case 'rdma':
      case 'prime':
      case 'videobuf2':
      case 'devmem':
      case 'ioas_map':
        // These stages neither attach nor map: the stages attach and map have their own events.
        break;
      default:
        data.stage satisfies never;
    }
    this.#changed(buffer, state);
  }

  /** A call of iommufd has failed. */
  #undoMapping(data: Data<'import'>): void {
    const buffer = this.#alive.get(data.inode);
    const state = buffer?.importers.get(importerName(data.importer), data.importer_device, data.t);
    if (buffer !== undefined && state !== undefined && undoMapping(buffer, state, data))
      this.#changed(buffer, state);
  }

  #detached(data: Data<'detach'>): void {
    const buffer = this.#touched(data.inode, data.device, data.t);
    if (buffer === null) return;
    buffer.attachments.end(data.t);
    const state = buffer.importers.get(importerName(data.importer), data.importer_device, data.t);
    detach(state, data.t, this.tracesUnmaps);
    this.#changed(buffer, state);
  }

  #unmapped(data: Data<'unmap'>): void {
    const buffer = this.#touched(data.inode, data.device, data.t);
    if (buffer === null) return;
    const state = buffer.importers.get(importerName(data.importer), data.importer_device, data.t);
    state.mapped.end(data.t);
    this.#changed(buffer, state);
  }

  /** Returns the number of lost mappings. */
  #stateChanged(data: Data<'buffer_state'>): number {
    const buffer = this.#touched(data.inode, data.device, data.t);
    if (buffer === null) return 0;
    setRevoked(buffer, data.t, data.revoked, data.cause);
    const lost = data.revoked ? revoke(buffer, data.t, this.tracesUnmaps) : 0;
    this.totals.update(buffer);
    return lost;
  }

  #bound(data: Data<'bind'>): void {
    if (data.errno !== 0) {
      this.#rejected(data, 'bind', 'kvm', 'kvm');
      return;
    }
    const buffer = this.#touched(data.inode, data.device, data.t);
    if (buffer === null) return;
    buffer.boundAt = Math.min(buffer.boundAt ?? data.t, data.t);
    const state = buffer.importers.kvm ?? buffer.importers.get('kvm', 'kvm', data.t);
    map(buffer, state, data.t, this.tracesUnmaps);
    this.#changed(buffer, state);
  }

  #unbound(data: Data<'unbind'>): void {
    const buffer = this.#touched(data.inode, data.device, data.t);
    if (buffer === null) return;
    const state = buffer.importers.kvm ?? buffer.importers.get('kvm', 'kvm', data.t);
    state.mapped.end(data.t);
    this.#changed(buffer, state);
  }

  /** Live or revoked buffers whose owner is this process. */
  *ownedBy(process: ProcessRecord): Generator<BufferState> {
    for (const record of [process, ...(process.threads ?? [])]) {
      for (const inode of record.buffers ?? []) {
        const buffer = this.#alive.get(inode);
        if (buffer !== undefined && ownerOf(buffer) === process) yield buffer;
      }
    }
  }

  processExited(process: ProcessRecord): void {
    for (const buffer of this.ownedBy(process)) buffer.ownerGoneAt ??= process.goneAt;
  }

  /** A pid was reused: assigns what was recorded after that to the new process. The old process has ended. */
  takenOver({ from, to, since }: Takeover): void {
    for (const inode of [...(from.buffers ?? [])]) {
      const buffer = this.get(inode);
      if (buffer === undefined) continue;
      if (buffer.vm === from && (buffer.exportedAt ?? buffer.firstSeenAt) >= since) this.#setVm(buffer, to);
      const { owner } = buffer;
      if (owner?.process !== from || owner.t < since) continue;
      this.#setOwner(buffer, { ...owner, process: to });
      buffer.ownerGoneAt = to.goneAt;
    }
    for (const task of [...(from.tasks ?? [])]) {
      if (task.t < since) continue;
      from.tasks?.delete(task);
      task.process = to;
      to.tasks ??= new Set();
      to.tasks.add(task);
    }
    this.processExited(from);
  }

  /**
   * Updates the table from a snapshot, taken between `t_begin` and `t_end`. Returns the buffers that no longer exist.
   */
  reconcile(snapshot: Snapshot): BufferState[] {
    const present = new Set<number>();
    const holders = deviceHolders(snapshot, this.#processes);
    if (snapshot.device_holders !== undefined) this.deviceHolders = { at: snapshot.t_end, byDevice: holders };
    for (const seen of snapshot.buffers) {
      present.add(seen.inode);
      this.#reconcileOne(seen, snapshot);
      const buffer = this.#alive.get(seen.inode);
      if (buffer === undefined) continue;
      // For a buffer of a closed device (0), a process that opened the device later is not a holder.
      if (seen.device !== 0) buffer.deviceHolders = holders.get(seen.device) ?? [];
      this.#vms.note(buffer);
    }
    if (!snapshot.complete) return [];
    const gone: BufferState[] = [];
    for (const buffer of this.#alive.values()) {
      if (!present.has(buffer.inode) && buffer.firstSeenAt < snapshot.t_begin) gone.push(buffer);
    }
    for (const buffer of gone) this.#markReleased(buffer, snapshot.t_end);
    return gone;
  }

  #reconcileOne(seen: SnapshotBuffer, { t_begin, t_end }: Snapshot): void {
    if (this.#released.has(seen.inode)) return;
    let buffer = this.#alive.get(seen.inode);
    const isNew = buffer === undefined;
    if (buffer === undefined) {
      buffer = newBuffer(seen.inode, t_begin, this.totals);
      this.#alive.set(seen.inode, buffer);
    }
    if (seen.device !== 0) buffer.device = seen.device;
    if (seen.bytes !== 0) buffer.bytes = seen.bytes;
    if (seen.ranges !== 0) buffer.ranges = seen.ranges;
    buffer.privacy = PRIVACIES[seen.privacy] ?? buffer.privacy;
    // A device keeps its VM while it is open. So an unchanged pid is the known VM, even if the pid was reused since.
    if (seen.kvm_pid !== 0 && buffer.vm?.pid !== seen.kvm_pid) {
      this.#setVm(buffer, this.#processes.at(seen.kvm_pid, t_begin, seen.vm_type));
    }
    if (seen.kvm_pid !== 0) buffer.vmType = seen.vm_type;
    if (seen.kvm_pid !== 0 && buffer.vm !== null) leaderOf(buffer.vm).vmType = seen.vm_type;
    buffer.holders = seen.holders;
    buffer.holdersAt = t_end;
    // An event that is newer than the start of the snapshot takes precedence.
    const isTouched = !isNew && buffer.changedAt >= t_begin;
    if (seen.revoked !== buffer.revoked && buffer.stateAt < t_begin) {
      buffer.changedAt = Math.max(buffer.changedAt, t_begin);
      setRevoked(buffer, t_begin, seen.revoked, isNew ? null : 'unknown');
      if (seen.revoked) revoke(buffer, t_begin, this.tracesUnmaps);
    }
    if (!isTouched) reconcileAttachments(buffer, seen.attachments, t_begin);
    this.totals.update(buffer);
  }

  #rejected(
    data: Data<'import'> | Data<'bind'>,
    stage: Data<'import'>['stage'],
    importer: string,
    importerDevice: string,
  ): void {
    const buffer = this.#alive.get(data.inode);
    if (buffer === undefined) return;
    const { reason, errno, t } = data;
    recordRejection(buffer, {
      importer: importerName(importer),
      importerDevice,
      stage,
      reason,
      errno,
      at: t,
    });
  }

  /**
   * The live buffer that an event changes; inserted if it is not known yet. Null if it was released or cannot be a VFIO
   * buffer.
   */
  #touched(inode: number, device: number, t: number): BufferState | null {
    if (inode === 0 || this.#released.has(inode)) return null;
    let buffer = this.#alive.get(inode);
    if (buffer === undefined) {
      // Without a device, it may not be a VFIO buffer.
      if (device === 0) return null;
      buffer = newBuffer(inode, t, this.totals);
      this.#alive.set(inode, buffer);
    }
    if (device !== 0) buffer.device = device;
    buffer.changedAt = Math.max(buffer.changedAt, t);
    return buffer;
  }

  /** Call this after each change of an importer of a live or revoked buffer. */
  #changed(buffer: BufferState, state: ImporterState): void {
    buffer.importers.update(state);
    this.totals.update(buffer);
  }

  #setOwner(buffer: BufferState, owner: Task): void {
    const before = buffer.owner?.process ?? null;
    buffer.owner = owner;
    relink(buffer, before, owner.process);
  }

  #setVm(buffer: BufferState, vm: ProcessRecord | null): void {
    const before = buffer.vm;
    buffer.vm = vm;
    relink(buffer, before, vm);
  }

  #markReleased(buffer: BufferState, t: number): void {
    this.beforeRelease(buffer);
    buffer.released = true;
    buffer.revokeCause = null;
    buffer.changedAt = t;
    buffer.lostMappings = 0;
    buffer.attachments.set(0, t);
    buffer.importers.clear();
    buffer.rejections.limit(0);
    buffer.holders = [];
    this.totals.remove(buffer);
    this.#alive.delete(buffer.inode);
    this.#released.set(buffer.inode, buffer);
    while (this.#released.size > this.#historyLimit) {
      const oldest = this.#released.get(this.#released.oldest() ?? 0);
      if (oldest === undefined) return;
      this.#released.delete(oldest.inode);
      oldest.owner?.process?.buffers?.delete(oldest.inode);
      oldest.vm?.buffers?.delete(oldest.inode);
    }
  }
}
