import type { StreamRecord } from '../protocol/decode.ts';
import type { Snapshot } from '../protocol/wire.ts';

/**
 * The buffers that may be alive, by inode. It may contain too many, never too few for long: a buffer whose release
 * event was lost stays until a complete snapshot does not list it. A lost export event causes a snapshot, which adds
 * the buffer.
 */
export class LiveBuffers {
  /** Inode -> time at which the buffer became known, in microseconds since boot. */
  readonly #since = new Map<number, number>();

  /** True while at least one buffer may be alive. */
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
