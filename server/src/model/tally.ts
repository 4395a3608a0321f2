/** Endings without a beginning that are remembered; a burst has fewer. */
const EARLY_LIMIT = 16;

/**
 * What has begun and not ended, by the times of the events. Two processors may hand over an end before its beginning: it
 * is kept, and meets the beginning when that comes. So the count is the same in either order, and never negative.
 */
export class Tally {
  /** When the newest ending was, microseconds since boot. */
  endedAt = Number.NEGATIVE_INFINITY;
  readonly #open: number[] = [];
  readonly #early: number[] = [];

  get count(): number {
    return this.#open.length;
  }

  /** False where its end is known already. */
  begin(t: number): boolean {
    if (this.meets(t)) return false;
    this.#open.push(t);
    return true;
  }

  /** Takes away an ending that came before its beginning at `t`; false where there is none. */
  meets(t: number): boolean {
    const index = this.#early.findIndex((end) => end >= t);
    if (index === -1) return false;
    this.#early.splice(index, 1);
    return true;
  }

  end(t: number): void {
    this.endedAt = Math.max(this.endedAt, t);
    const index = this.#open.findIndex((begin) => begin <= t);
    if (index !== -1) {
      this.#open.splice(index, 1);
      return;
    }
    this.#early.push(t);
    if (this.#early.length > EARLY_LIMIT) this.#early.shift();
  }

  /** True where something that began at `t` or before lasts. */
  hasSince(t: number): boolean {
    return this.#open.some((begin) => begin <= t);
  }

  /** Ends all that began at `t` or before; gives how many. */
  endAll(t: number): number {
    const left = this.#open.filter((begin) => begin > t);
    const ended = this.#open.length - left.length;
    this.#open.splice(0, this.#open.length, ...left);
    return ended;
  }

  /** What was thought to have begun at `from` began at `to`. */
  move(from: number, to: number): void {
    const index = this.#open.indexOf(from);
    if (index !== -1) this.#open[index] = to;
  }

  /** Leaves at most so many. */
  limit(count: number): void {
    this.#open.splice(0, Math.max(0, this.#open.length - count));
  }

  /** Told by another source, which knew of all up to `t`. */
  set(count: number, t: number): void {
    this.#early.length = 0;
    this.#open.splice(0, this.#open.length, ...new Array<number>(count).fill(t));
  }
}
