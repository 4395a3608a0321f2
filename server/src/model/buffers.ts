import { PRIVACIES, WALKED_ATTACHMENTS } from '../stream/codes.ts';
import type { TupleKind, TupleOf } from '../stream/tuples.ts';
import type { Snapshot, SnapshotBuffer } from '../stream/wire.ts';
import {
  type BufferState,
  forget,
  type Hold,
  holdOf,
  holdsOf,
  newBuffer,
  noteRefusal,
  noteState,
  revoke,
  type Task,
} from './buffer-state.ts';
import { importerName } from './naming.ts';
import { leaderOf, type ProcessRecord, type ProcessTable, type Takeover } from './processes.ts';
import type { VmTable } from './vms.ts';

type Data<K extends TupleKind> = TupleOf<K>['data'];

/** Unseen attachments of one importer that are remembered, to know their own events when they come. */
const IMPLIED_LIMIT = 16;

/** All buffers by inode, which the kernel gives out once a boot. Released ones stay for a while. */
export class BufferTable {
  readonly #processes: ProcessTable;
  readonly #vms: VmTable;
  readonly #historyLimit: number;
  readonly #alive = new Map<number, BufferState>();
  /** Also the tombstones: a snapshot taken before the release must not bring a buffer back. */
  readonly #released = new Map<number, BufferState>();
  /** Whether the end of a mapping is told by an event; else a revocation stands for it. */
  watchesUnmaps = false;

  constructor(processes: ProcessTable, vms: VmTable, historyLimit: number) {
    this.#processes = processes;
    this.#vms = vms;
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
    const { pid, comm, t } = data;
    const process = this.#processes.at(pid, t);
    buffer.owner = { pid, comm, t, process };
    buffer.ownerGoneAt = process?.goneAt ?? null;
    buffer.vm = this.#processes.at(data.kvm_pid, t, data.vm_type) ?? buffer.vm;
    if (data.kvm_pid !== 0) buffer.vmType = data.vm_type;
    buffer.exportedAt = t;
    this.#vms.note(buffer);
    if (buffer.released) return;
    noteState(buffer, data.t, data.born_revoked, null);
    this.#alive.set(data.inode, buffer);
  }

  release(data: Data<'release'>): BufferState {
    const buffer = this.get(data.inode) ?? newBuffer(data.inode, data.t);
    if (!buffer.released) this.#bury(buffer, data.t);
    return buffer;
  }

  imported(data: Data<'import'>): void {
    if (data.errno !== 0) {
      this.#refused(data, data.stage, data.importer, data.importer_device);
      if (data.stage === 'iommufd') this.#takeBack(data);
      return;
    }
    const buffer = this.#touched(data.inode, data.device, data.t);
    if (buffer === null) return;
    const hold = holdOf(buffer, importerName(data.importer), data.importer_device, data.t);
    hold.task = { pid: data.pid, comm: data.comm, t: data.t, process: this.#processes.at(data.pid, data.t) };
    switch (data.stage) {
      case 'attach':
        attach(buffer, hold, data.t);
        return;
      case 'iommufd':
        hold.mapping = {
          pid: data.pid,
          t: data.t,
          detachedAt: null,
          before: hold.mapped.count,
          lost: buffer.lostMappings,
        };
        buffer.lostMappings = Math.max(0, buffer.lostMappings - 1);
        this.#map(buffer, hold, data.t);
        return;
      case 'map':
      case 'bind':
      case 'unknown':
        this.#map(buffer, hold, data.t);
        return;
      case 'pin':
      case 'vmap':
      case 'rdma':
      case 'prime':
      case 'videobuf2':
      case 'devmem':
        // The importer's own call, or a step that maps nothing: attach and map have told what it holds.
        return;
      default:
        data.stage satisfies never;
    }
  }

  /**
   * iommufd was given the memory, and has refused the call after that (its IOVA is taken, say): nothing was mapped. It detaches
   * within that call, which tells it from a later one that is refused at once.
   */
  #takeBack({ inode, importer, importer_device, pid, t, ns }: Data<'import'>): void {
    const buffer = this.#alive.get(inode);
    const hold = buffer && holdOf(buffer, importerName(importer), importer_device, t);
    const mapping = hold?.mapping;
    const detachedAt = mapping?.detachedAt ?? null;
    if (!buffer || !mapping || mapping.pid !== pid || detachedAt === null) return;
    if (detachedAt > t || detachedAt < t - ns / 1000) return;
    buffer.lostMappings = Math.max(buffer.lostMappings, mapping.lost);
    hold.mapped.limit(mapping.before);
    hold.mapping = null;
  }

  detached(data: Data<'detach'>): void {
    const buffer = this.#touched(data.inode, data.device, data.t);
    if (buffer === null) return;
    buffer.attachments.end(data.t);
    const hold = holdOf(buffer, importerName(data.importer), data.importer_device, data.t);
    const { attached, mapped, mapping } = hold;
    if (mapping !== null && data.t >= mapping.t) mapping.detachedAt = data.t;
    attached.end(data.t);
    if (!attached.hasSince(data.t)) mapped.endAll(data.t);
    if (!this.#unmapsAreSeen(hold)) mapped.limit(attached.count);
  }

  unmapped(data: Data<'unmap'>): void {
    const buffer = this.#touched(data.inode, data.device, data.t);
    if (buffer === null) return;
    holdOf(buffer, importerName(data.importer), data.importer_device, data.t).mapped.end(data.t);
  }

  /** Gives the number of mappings that were lost. */
  stateChanged(data: Data<'buffer_state'>): number {
    const buffer = this.#touched(data.inode, data.device, data.t);
    if (buffer === null) return 0;
    noteState(buffer, data.t, data.revoked, data.cause);
    return data.revoked ? revoke(buffer, data.t, this.watchesUnmaps) : 0;
  }

  bound(data: Data<'bind'>): void {
    if (data.errno !== 0) {
      this.#refused(data, 'bind', 'kvm', 'kvm');
      return;
    }
    const buffer = this.#touched(data.inode, data.device, data.t);
    if (buffer === null) return;
    buffer.boundAt = Math.min(buffer.boundAt ?? data.t, data.t);
    this.#map(buffer, kvmHold(buffer) ?? holdOf(buffer, 'kvm', 'kvm', data.t), data.t);
  }

  unbound(data: Data<'unbind'>): void {
    const buffer = this.#touched(data.inode, data.device, data.t);
    if (buffer === null) return;
    (kvmHold(buffer) ?? holdOf(buffer, 'kvm', 'kvm', data.t)).mapped.end(data.t);
  }

  processExited(process: ProcessRecord): void {
    for (const buffer of this.#alive.values()) {
      if (ownerOf(buffer) === process) buffer.ownerGoneAt ??= process.goneAt;
    }
  }

  /** Gives what was named by a number after it had passed to another process to that process; the first one has ended. */
  takenOver({ from, to, since }: Takeover): void {
    const mend = (task: Task | null): void => {
      if (task !== null && task.process === from && task.t >= since) task.process = to;
    };
    for (const table of [this.#alive, this.#released]) {
      for (const buffer of table.values()) {
        if (buffer.vm === from && (buffer.exportedAt ?? buffer.firstSeenAt) >= since) buffer.vm = to;
        mend(buffer.owner);
        if (buffer.owner?.process === to) buffer.ownerGoneAt = to.goneAt;
        for (const { task } of buffer.holds.values()) mend(task);
      }
    }
    this.processExited(from);
  }

  /** Makes the table agree with what the kernel was seen to hold between `t_begin` and `t_end`. */
  reconcile(snapshot: Snapshot): void {
    const present = new Set<number>();
    const holders = this.#deviceHolders(snapshot);
    for (const seen of snapshot.buffers) {
      present.add(seen.inode);
      this.#reconcileOne(seen, snapshot);
      const buffer = this.#alive.get(seen.inode);
      if (buffer === undefined) continue;
      // Whoever has the device open once it was closed here is another.
      if (seen.device !== 0) buffer.deviceHolders = holders.get(seen.device) ?? [];
      this.#vms.note(buffer);
    }
    if (!snapshot.complete) return;
    for (const buffer of [...this.#alive.values()]) {
      if (!present.has(buffer.inode) && buffer.firstSeenAt < snapshot.t_begin)
        this.#bury(buffer, snapshot.t_end);
    }
  }

  #deviceHolders({ device_holders = [], t_end }: Snapshot): Map<number, ProcessRecord[]> {
    const holders = new Map<number, ProcessRecord[]>();
    for (const { device, pid } of device_holders) {
      const process = this.#processes.at(pid, t_end);
      if (process !== null) holders.set(device, [...(holders.get(device) ?? []), process]);
    }
    return holders;
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
    // A device keeps its VM as long as it is open, and its buffers lose it with that: who has the number now may be another.
    if (seen.kvm_pid !== 0 && buffer.vm?.pid !== seen.kvm_pid) {
      buffer.vm = this.#processes.at(seen.kvm_pid, t_begin, seen.vm_type);
    }
    if (seen.kvm_pid !== 0) buffer.vmType = seen.vm_type;
    if (seen.kvm_pid !== 0 && buffer.vm !== null) leaderOf(buffer.vm).vmType = seen.vm_type;
    buffer.holders = seen.holders;
    buffer.holdersAt = t_end;
    // An event that is newer than the snapshot's beginning knows better.
    const isTouched = !isNew && buffer.changedAt >= t_begin;
    if (seen.revoked !== buffer.revoked && buffer.stateAt < t_begin) {
      buffer.changedAt = Math.max(buffer.changedAt, t_begin);
      noteState(buffer, t_begin, seen.revoked, isNew ? null : 'unknown');
      if (seen.revoked) revoke(buffer, t_begin, this.watchesUnmaps);
    }
    if (!isTouched) reconcileAttachments(buffer, seen.attachments, t_begin);
  }

  #map(buffer: BufferState, hold: Hold, t: number): void {
    const { attached, mapped } = hold;
    buffer.imported = true;
    // The detach came first.
    if (t <= attached.endedAt && !attached.hasSince(t)) return;
    if (attached.count === 0) {
      // An attachment that was not seen (a gap, or older than we are) shows by its mapping.
      attached.begin(t);
      hold.implied = [...hold.implied.slice(1 - IMPLIED_LIMIT), t];
      hold.since = t;
    }
    const iommufd = hold.importer === 'iommufd';
    if (!this.#unmapsAreSeen(hold) && t < (buffer.revokedAt ?? 0)) {
      // The revocation came first.
      if (iommufd) buffer.lostMappings += 1;
      return;
    }
    mapped.begin(t);
    if (!iommufd && !this.#unmapsAreSeen(hold)) mapped.limit(attached.count);
  }

  /** iommufd takes the physical range: it never unmaps with the exporter. KVM tells by its unbind. */
  #unmapsAreSeen(hold: Hold): boolean {
    return hold.importer === 'kvm' || (this.watchesUnmaps && hold.importer !== 'iommufd');
  }

  #refused(
    data: Data<'import'> | Data<'bind'>,
    stage: Data<'import'>['stage'],
    importer: string,
    importerDevice: string,
  ): void {
    const buffer = this.#alive.get(data.inode);
    if (buffer === undefined) return;
    const { reason, errno, t } = data;
    noteRefusal(buffer, { importer: importerName(importer), importerDevice, stage, reason, errno, at: t });
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
    buffer.attachments.set(0, t);
    buffer.holds.clear();
    buffer.refusals.clear();
    buffer.holders = [];
    this.#alive.delete(buffer.inode);
    this.#released.set(buffer.inode, buffer);
    if (this.#released.size > this.#historyLimit) {
      const oldest = this.#released.keys().next();
      if (!oldest.done) this.#released.delete(oldest.value);
    }
  }
}

/** Whose end makes a buffer an orphan: the task that exported it, or its VM where that was not seen. */
export function ownerOf({ owner, vm }: BufferState): ProcessRecord | null {
  if (owner !== null) return owner.process;
  return vm === null ? null : leaderOf(vm);
}

function reconcileAttachments(buffer: BufferState, seen: number, t: number): void {
  // The kernel's list is walked so far: what is known to be more stands.
  const count = seen < WALKED_ATTACHMENTS ? seen : Math.max(seen, buffer.attachments.count);
  buffer.attachments.set(count, t);
  if (count > 0) buffer.imported = true;
  // KVM may hold by its slot alone. Of the others one has let go unseen, and nothing says which: none is named on a guess.
  const named = [...holdsOf(buffer)].filter(({ importer }) => importer !== 'kvm');
  const held = named.reduce((sum, { attached }) => sum + attached.count, 0);
  if (count === 0) buffer.holds.clear();
  else if (held > count) for (const hold of named) forget(buffer, hold);
}

function attach(buffer: BufferState, hold: Hold, t: number): void {
  buffer.imported = true;
  buffer.attachments.begin(t);
  const { attached, implied } = hold;
  if (attached.meets(t)) return;
  const index = implied.findIndex((mapping) => mapping >= t);
  if (index === -1) attached.begin(t);
  else for (const mapping of implied.splice(index, 1)) attached.move(mapping, t);
  if (attached.count === 1) hold.since = t;
}

function kvmHold(buffer: BufferState): Hold | undefined {
  return [...buffer.holds.values()].find(({ importer }) => importer === 'kvm');
}
