import type { StreamRecord } from '../../stream/decode.ts';
import type { Snapshot } from '../../stream/wire.ts';

/**
 * The buffers that may be alive, by inode. It errs on the side of too many: a buffer whose release event was lost stays until a
 * complete snapshot no longer lists it, and a lost export event is followed by a snapshot of its own.
 */
export class LiveBuffers {
  /** Inode to the time at which it became known, microseconds since boot. */
  readonly #since = new Map<number, number>();

  /** True while some buffer may be alive, so that the end of a process can leave one behind. */
  get any(): boolean {
    return this.#since.size > 0;
  }

  event(record: StreamRecord): void {
    if (record.type === 'export' && record.data.errno === 0)
      this.#since.set(record.data.inode, record.data.t);
    else if (record.type === 'release') this.#since.delete(record.data.inode);
  }

  snapshot({ buffers, complete, t_begin }: Pick<Snapshot, 'buffers' | 'complete' | 't_begin'>): void {
    const listed = new Set(buffers.map(({ inode }) => inode));
    for (const inode of listed) if (!this.#since.has(inode)) this.#since.set(inode, t_begin);
    if (!complete) return;
    for (const [inode, since] of this.#since)
      if (!listed.has(inode) && since < t_begin) this.#since.delete(inode);
  }
}
