import { PRIVACIES } from '../stream/codes.ts';
import type { TupleKind, TupleOf } from '../stream/tuples.ts';
import type { Snapshot, SnapshotBuffer } from '../stream/wire.ts';
import { type BufferState, dropHold, holdOf, newBuffer, restore, revoke } from './buffer-state.ts';
import { importerName } from './naming.ts';
import type { ProcessTable } from './processes.ts';

type Data<K extends TupleKind> = TupleOf<K>['data'];

/** All buffers by inode, which the kernel gives out once a boot. Released ones stay for a while. */
export class BufferTable {
  readonly #processes: ProcessTable;
  readonly #historyLimit: number;
  readonly #alive = new Map<number, BufferState>();
  /** Also the tombstones: a snapshot taken before the release must not bring a buffer back. */
  readonly #released = new Map<number, BufferState>();

  constructor(processes: ProcessTable, historyLimit: number) {
    this.#processes = processes;
    this.#historyLimit = historyLimit;
  }

  alive(): IterableIterator<BufferState> {
    return this.#alive.values();
  }

  released(): IterableIterator<BufferState> {
    return this.#released.values();
  }

  get(inode: number): BufferState | undefined {
    return this.#alive.get(inode) ?? this.#released.get(inode);
  }

  exported(data: Data<'export'>): void {
    if (data.errno !== 0 || data.inode === 0) return;
    // Two processors may hand over the release first; then only the history learns what it was.
    const known = this.get(data.inode);
    const buffer = known ?? newBuffer(data.inode, data.t);
    if (data.device !== 0) buffer.device = data.device;
    buffer.region = data.region;
    buffer.ranges = data.ranges;
    buffer.bytes = data.bytes;
    buffer.privacy = data.privacy;
    buffer.bornRevoked = data.born_revoked;
    buffer.preexisting = false;
    buffer.owner = { pid: data.pid, comm: data.comm, gone: false };
    buffer.vm = this.#processes.vm(data.kvm_pid, data.vm_type) ?? buffer.vm;
    buffer.exportedAt = data.t;
    if (known !== undefined) return;
    buffer.revoked = data.born_revoked;
    this.#alive.set(data.inode, buffer);
  }

  release(data: Data<'release'>): BufferState {
    const buffer = this.get(data.inode) ?? newBuffer(data.inode, data.t);
    if (!buffer.released) this.#bury(buffer, data.t);
    return buffer;
  }

  imported(data: Data<'import'>): void {
    if (data.errno !== 0) return;
    const buffer = this.#touched(data.inode, data.device, data.t);
    if (buffer === null) return;
    const importer = importerName(data.importer);
    const hold = holdOf(buffer, importer, data.importer_device, data.t);
    switch (data.stage) {
      case 'attach':
        hold.count += 1;
        buffer.attachmentCount += 1;
        return;
      case 'iommufd':
        buffer.lostMappings = Math.max(0, buffer.lostMappings - 1);
        break;
      case 'map':
      case 'bind':
      case 'unknown':
        break;
      default:
        data.stage satisfies never;
    }
    // An attachment that was not seen (a gap, or older than we are) shows by its mapping.
    hold.count = Math.max(hold.count, 1);
    hold.mapped = Math.min(hold.mapped + 1, hold.count);
  }

  detached(data: Data<'detach'>): void {
    const buffer = this.#touched(data.inode, data.device, data.t);
    if (buffer === null) return;
    dropHold(buffer, importerName(data.importer), data.importer_device);
    buffer.attachmentCount = Math.max(0, buffer.attachmentCount - 1);
  }

  /** Gives the number of mappings that were lost. */
  stateChanged(data: Data<'buffer_state'>): number {
    const buffer = this.#touched(data.inode, data.device, data.t);
    if (buffer === null) return 0;
    if (data.revoked) return revoke(buffer, data.cause);
    restore(buffer);
    return 0;
  }

  bound(data: Data<'bind'>): void {
    if (data.errno !== 0) return;
    const buffer = this.#touched(data.inode, data.device, data.t);
    if (buffer === null) return;
    const attached = [...buffer.holds.values()].find((hold) => hold.importer === 'kvm');
    const hold = attached ?? holdOf(buffer, 'kvm', 'kvm', data.t);
    hold.count = Math.max(hold.count, 1);
    hold.mapped = Math.min(hold.mapped + 1, hold.count);
  }

  unbound(data: Data<'unbind'>): void {
    const buffer = this.#touched(data.inode, data.device, data.t);
    for (const hold of buffer?.holds.values() ?? []) {
      if (hold.importer === 'kvm') hold.mapped = Math.max(0, hold.mapped - 1);
    }
  }

  processExited(pid: number): void {
    for (const buffer of this.#alive.values()) {
      if (buffer.owner?.pid === pid) buffer.owner.gone = true;
    }
  }

  /** Makes the table agree with what the kernel was seen to hold between `t_begin` and `t_end`. */
  reconcile(snapshot: Snapshot): void {
    const present = new Set<number>();
    for (const seen of snapshot.buffers) {
      present.add(seen.inode);
      this.#reconcileOne(seen, snapshot);
    }
    if (!snapshot.complete) return;
    for (const buffer of [...this.#alive.values()]) {
      if (!present.has(buffer.inode) && buffer.firstSeenAt < snapshot.t_begin)
        this.#bury(buffer, snapshot.t_end);
    }
  }

  #reconcileOne(seen: SnapshotBuffer, { t_begin, t_end }: Snapshot): void {
    if (this.#released.has(seen.inode)) return;
    let buffer = this.#alive.get(seen.inode);
    const isNew = buffer === undefined;
    if (buffer === undefined) {
      buffer = newBuffer(seen.inode, t_begin);
      this.#alive.set(seen.inode, buffer);
    }
    if (seen.device !== 0) buffer.device = seen.device;
    if (seen.bytes !== 0) buffer.bytes = seen.bytes;
    if (seen.ranges !== 0) buffer.ranges = seen.ranges;
    buffer.privacy = PRIVACIES[seen.privacy] ?? buffer.privacy;
    if (seen.kvm_pid !== 0) buffer.vm = this.#processes.vm(seen.kvm_pid, seen.vm_type);
    buffer.holders = seen.holders;
    buffer.holdersAt = t_end;
    // An event that is newer than the snapshot's beginning knows better.
    if (!isNew && buffer.changedAt >= t_begin) return;
    if (seen.revoked !== buffer.revoked) {
      buffer.changedAt = t_begin;
      if (seen.revoked) revoke(buffer, isNew ? null : 'unknown');
      else restore(buffer);
    }
    buffer.attachmentCount = seen.attachments;
    if (seen.attachments === 0) buffer.holds.clear();
  }

  /** The buffer that an event changes now; one that is not known yet is older than we are. */
  #touched(inode: number, device: number, t: number): BufferState | null {
    if (inode === 0 || this.#released.has(inode)) return null;
    let buffer = this.#alive.get(inode);
    if (buffer === undefined) {
      // Without a device nothing says that it is a VFIO buffer at all.
      if (device === 0) return null;
      buffer = newBuffer(inode, t);
      this.#alive.set(inode, buffer);
    }
    if (device !== 0) buffer.device = device;
    buffer.changedAt = Math.max(buffer.changedAt, t);
    return buffer;
  }

  #bury(buffer: BufferState, t: number): void {
    buffer.released = true;
    buffer.revokeCause = null;
    buffer.changedAt = t;
    buffer.lostMappings = 0;
    buffer.attachmentCount = 0;
    buffer.holds.clear();
    buffer.holders = [];
    this.#alive.delete(buffer.inode);
    this.#released.set(buffer.inode, buffer);
    if (this.#released.size > this.#historyLimit) {
      const oldest = this.#released.keys().next();
      if (!oldest.done) this.#released.delete(oldest.value);
    }
  }
}
