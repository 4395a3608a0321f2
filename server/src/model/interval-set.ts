import { MinHeap } from '../lib/min-heap.ts';

/** The most ends without a beginning that are kept. A burst of reordered events has fewer. */
const EARLY_LIMIT = 16;

function isEarlier(one: number, other: number): boolean {
  return one < other;
}

/**
 * Counts intervals that have begun and not ended, by event time. Events of two processors may arrive out of order: an
 * end that arrives before its beginning is kept until the beginning arrives. So the count does not depend on the order,
 * and is never negative. An operation takes logarithmic time for each interval that it begins or ends.
 */
export class IntervalSet {
  /** Time of the newest end, microseconds since boot. */
  endedAt = Number.NEGATIVE_INFINITY;
  /** Number of intervals that another source counted. It includes all that began up to `#countedAt`. */
  #counted = 0;
  #countedAt = 0;
  /** Start times of the other intervals. Created when needed: most buffers have no importer. */
  #open: MinHeap<number> | null = null;
  #early: number[] | null = null;

  get count(): number {
    return this.#counted + (this.#open?.size ?? 0);
  }

  /** Returns false if its end has already arrived. */
  begin(t: number): boolean {
    if (this.takeEarlyEnd(t)) return false;
    this.#push(t);
    return true;
  }

  /** Removes an end that arrived before its beginning at `t`. Returns false if there is none. */
  takeEarlyEnd(t: number): boolean {
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

  /** Whether an interval that began at `t` or before is open. */
  hasSince(t: number): boolean {
    return this.#first() <= t;
  }

  /** Ends all intervals that began at `t` or before. Returns their number. */
  endAll(t: number): number {
    const before = this.count;
    if (this.#countedAt <= t) this.#counted = 0;
    while (this.#open !== null && (this.#open.first ?? Number.POSITIVE_INFINITY) <= t) this.#open.pop();
    return before - this.count;
  }

  /** Corrects the start time of an interval. */
  move(from: number, to: number): void {
    if (this.#open?.remove(from)) this.#push(to);
    else if (this.#counted > 0 && this.#countedAt === from) {
      this.#counted -= 1;
      this.#push(to);
    }
  }

  /** Removes the oldest intervals until at most `count` are left. */
  limit(count: number): void {
    while (this.count > count) {
      if (this.#counted > 0 && this.#countedAt <= (this.#open?.first ?? Number.POSITIVE_INFINITY))
        this.#counted = Math.max(0, count - (this.#open?.size ?? 0));
      else this.#open?.pop();
    }
  }

  /** Replaces all intervals by the number that another source counted at `t`. */
  set(count: number, t: number): void {
    this.#early = null;
    this.#open = null;
    this.#counted = count;
    this.#countedAt = t;
  }

  /** Start time of the oldest open interval; infinity if there is none. */
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
