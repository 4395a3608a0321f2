import type { Cause } from '../../stream/codes.ts';
import type { TupleOf } from '../../stream/tuples.ts';
import { FifoMap } from '../../support/fifo-map.ts';
import { Deadlines } from './deadlines.ts';

/** A revocation of a device's buffers that has begun and has not been seen to end. */
export interface RevokeCall {
  device: number;
  pid: number;
  comm: string;
  cause: Cause;
  /** Time of its first buffer. */
  began: number;
  buffers: Set<number>;
  /** Those of its buffers that the call may wait for; the first ones were looked at the longest ago. */
  unsettled: FifoMap<number, true>;
}

type Data<K extends 'buffer_state' | 'revoke_call'> = TupleOf<K>['data'];

const DEVICE_LIMIT = 4096;

/** The calls under way, at most one a device: the kernel holds the device's memory_lock for the whole call. */
export class RevokeCalls {
  readonly #running = new FifoMap<number, RevokeCall>();
  /** When the last call of each device ended, as far as that was seen. */
  readonly #endedAt = new FifoMap<number, number>();
  readonly #deadlines = new Deadlines();

  running(): RevokeCall[] {
    return [...this.#running.values()];
  }

  /** The calls that began at `until` or before, each once. */
  *due(until: number): Generator<RevokeCall> {
    for (const { key } of this.#deadlines.due(until)) {
      const call = this.#running.get(key);
      if (call !== undefined) yield call;
    }
  }

  of(device: number): RevokeCall | undefined {
    return this.#running.get(device);
  }

  /** One buffer of a call. Returns the call before it on the same device where the end of that one was not seen. */
  buffer(data: Data<'buffer_state'>): RevokeCall | null {
    const { t, device, pid, comm, cause, inode } = data;
    // Its call's end came first.
    if (device === 0 || t <= (this.#endedAt.get(device) ?? -1)) return null;
    const call = this.#running.get(device);
    if (!data.revoked) return call !== undefined && call.began < t ? this.forget(call) : null;
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
    if (call !== undefined) this.forget(call);
    const unsettled = new FifoMap<number, true>();
    unsettled.set(inode, true);
    this.#running.set(device, { device, pid, comm, cause, began: t, buffers: new Set([inode]), unsettled });
    this.#running.limit(DEVICE_LIMIT);
    this.#deadlines.add(device, t);
    return call ?? null;
  }

  /** The end of a call, of a revocation or of the opposite. Returns the call that was under way, ended by this or before it. */
  end({ t, pid, device, revoked }: Data<'revoke_call'>): { call: RevokeCall; seen: boolean } | null {
    this.#endedAt.set(device, Math.max(this.#endedAt.get(device) ?? 0, t));
    this.#endedAt.limit(DEVICE_LIMIT);
    const call = this.#running.get(device);
    if (call === undefined || call.began > t) return null;
    this.forget(call);
    return { call, seen: revoked && pid === call.pid };
  }

  forget(call: RevokeCall): RevokeCall {
    this.#running.delete(call.device);
    this.#deadlines.delete(call.device);
    return call;
  }
}
