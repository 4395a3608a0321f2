import { FifoMap } from '../lib/fifo-map.ts';
import type { Cause } from '../protocol/codes.ts';
import type { TupleOf } from '../protocol/tuples.ts';
import { Deadlines } from './deadlines.ts';

/** A revocation of a device's buffers whose end has not been reported yet. */
export interface RevokeCall {
  device: number;
  pid: number;
  comm: string;
  cause: Cause;
  /** Time of the event of its first buffer. */
  began: number;
  buffers: Set<number>;
  /** Its buffers that the call may wait for, those checked longest ago first. */
  unsettled: FifoMap<number, true>;
}

type Data<K extends 'buffer_state' | 'revoke_call'> = TupleOf<K>['data'];

const DEVICE_LIMIT = 4096;

/** The running calls, at most one per device: the kernel holds the device's memory_lock for the whole call. */
export class RevokeCalls {
  readonly #running = new FifoMap<number, RevokeCall>();
  /** When the last call of each device ended, if that was reported. */
  readonly #endedAt = new FifoMap<number, number>();
  readonly #deadlines = new Deadlines();

  running(): RevokeCall[] {
    return [...this.#running.values()];
  }

  /** Returns the calls that began at `until` or before, each once. */
  *due(until: number): Generator<RevokeCall> {
    for (const { key } of this.#deadlines.due(until)) {
      const call = this.#running.get(key);
      if (call !== undefined) yield call;
    }
  }

  of(device: number): RevokeCall | undefined {
    return this.#running.get(device);
  }

  /** Adds a buffer event. Returns the previous call of the device if this event shows that its end was missed. */
  buffer(data: Data<'buffer_state'>): RevokeCall | null {
    const { t, device, pid, comm, cause, inode } = data;
    // The end of its call arrived first.
    if (device === 0 || t <= (this.#endedAt.get(device) ?? -1)) return null;
    const call = this.#running.get(device);
    if (!data.revoked) return call !== undefined && call.began < t ? this.drop(call) : null;
    if (call !== undefined && call.pid === pid && !call.buffers.has(inode)) {
      call.buffers.add(inode);
      call.unsettled.set(inode, true);
      if (t < call.began) {
        call.began = t;
        this.#deadlines.add(device, t);
      }
      return null;
    }
    if (call !== undefined && call.began > t) return null;
    if (call !== undefined) this.drop(call);
    const unsettled = new FifoMap<number, true>();
    unsettled.set(inode, true);
    this.#running.set(device, { device, pid, comm, cause, began: t, buffers: new Set([inode]), unsettled });
    this.#running.limit(DEVICE_LIMIT);
    this.#deadlines.add(device, t);
    return call ?? null;
  }

  /**
   * The end of a call that revokes or restores. Returns the running call of the device. `seen`: this is the end of that
   * call.
   */
  end({ t, pid, device, revoked }: Data<'revoke_call'>): { call: RevokeCall; seen: boolean } | null {
    this.#endedAt.set(device, Math.max(this.#endedAt.get(device) ?? 0, t));
    this.#endedAt.limit(DEVICE_LIMIT);
    const call = this.#running.get(device);
    if (call === undefined || call.began > t) return null;
    this.drop(call);
    return { call, seen: revoked && pid === call.pid };
  }

  drop(call: RevokeCall): RevokeCall {
    this.#running.delete(call.device);
    this.#deadlines.delete(call.device);
    return call;
  }
}
