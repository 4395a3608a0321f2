import { MinHeap } from './min-heap.ts';

/** Endings without a beginning that are remembered; a burst has fewer. */
const EARLY_LIMIT = 16;

const isEarlier = (one: number, other: number): boolean => one < other;

/**
 * What has begun and not ended, by the times of the events. Two processors may report an end before its beginning: it
 * is kept, and meets the beginning when that comes. So the count is the same in either order, and never negative.
 * However many there are, an operation takes logarithmic time for each interval that it begins or ends.
 */
export class IntervalSet {
  /** When the newest ending was, microseconds since boot. */
  endedAt = Number.NEGATIVE_INFINITY;
  /** As many as another source has counted, which knew of all up to `#countedAt`. */
  #counted = 0;
  #countedAt = 0;
  /** When each of the others began. Made when it is needed: most buffers have no importer. */
  #open: MinHeap<number> | null = null;
  #early: number[] | null = null;

  get count(): number {
    return this.#counted + (this.#open?.size ?? 0);
  }

  /** False where its end is known already. */
  begin(t: number): boolean {
    if (this.meets(t)) return false;
    this.#push(t);
    return true;
  }

  /** Removes an ending that came before its beginning at `t`; false where there is none. */
  meets(t: number): boolean {
    if (this.#early === null) return false;
    const index = this.#early.findIndex((end) => end >= t);
    if (index === -1) return false;
    this.#early.splice(index, 1);
    return true;
  }

  end(t: number): void {
    this.endedAt = Math.max(this.endedAt, t);
    if (this.hasSince(t)) {
      this.#removeFirst();
      return;
    }
    this.#early ??= [];
    this.#early.push(t);
    if (this.#early.length > EARLY_LIMIT) this.#early.shift();
  }

  /** True where something that began at `t` or before lasts. */
  hasSince(t: number): boolean {
    return this.#first() <= t;
  }

  /** Ends all that began at `t` or before; returns how many. */
  endAll(t: number): number {
    const before = this.count;
    if (this.#countedAt <= t) this.#counted = 0;
    while (this.#open !== null && (this.#open.first ?? Number.POSITIVE_INFINITY) <= t) this.#open.pop();
    return before - this.count;
  }

  /** What was thought to have begun at `from` began at `to`. */
  move(from: number, to: number): void {
    if (this.#open?.remove(from)) this.#push(to);
    else if (this.#counted > 0 && this.#countedAt === from) {
      this.#counted -= 1;
      this.#push(to);
    }
  }

  /** Leaves at most `count`, the newest. */
  limit(count: number): void {
    while (this.count > count) {
      if (this.#counted > 0 && this.#countedAt <= (this.#open?.first ?? Number.POSITIVE_INFINITY))
        this.#counted = Math.max(0, count - (this.#open?.size ?? 0));
      else this.#open?.pop();
    }
  }

  /** Replaces all by `count` that another source has counted at `t`. */
  set(count: number, t: number): void {
    this.#early = null;
    this.#open = null;
    this.#counted = count;
    this.#countedAt = t;
  }

  /** When the oldest one began; infinity where there is none. */
  #first(): number {
    const open = this.#open?.first ?? Number.POSITIVE_INFINITY;
    return this.#counted > 0 ? Math.min(this.#countedAt, open) : open;
  }

  #removeFirst(): void {
    if (this.#counted > 0 && this.#countedAt <= (this.#open?.first ?? Number.POSITIVE_INFINITY))
      this.#counted -= 1;
    else this.#open?.pop();
  }

  #push(t: number): void {
    this.#open ??= new MinHeap(isEarlier);
    this.#open.push(t);
  }
}
