import { MinHeap } from '../min-heap.ts';

interface Entry {
  readonly key: number;
  readonly since: number;
  readonly order: number;
}

/** Entries of keys that were deleted or added again may be as many as those in use, and these. */
const SPARE_ENTRIES = 64;

/** Keys that become due when they have lasted for a time, the oldest first, whatever order they were added in. */
export class Deadlines {
  readonly #since = new Map<number, number>();
  readonly #entries = new MinHeap<Entry>(
    (one, other) => one.since < other.since || (one.since === other.since && one.order < other.order),
  );
  #order = 0;

  get size(): number {
    return this.#since.size;
  }

  /** A key that is there already gets this time. */
  add(key: number, since: number): void {
    if (this.#since.get(key) === since) return;
    this.#since.set(key, since);
    this.#order += 1;
    this.#entries.push({ key, since, order: this.#order });
    if (this.#entries.size <= 2 * this.#since.size + SPARE_ENTRIES) return;
    this.#entries.keep((entry) => this.#since.get(entry.key) === entry.since);
  }

  delete(key: number): void {
    this.#since.delete(key);
  }

  /** Removes and returns what began at `until` or before. */
  *due(until: number): Generator<{ key: number; since: number }> {
    for (;;) {
      const { first } = this.#entries;
      if (first === undefined || first.since > until) return;
      this.#entries.pop();
      const { key, since } = first;
      // Others were deleted, or added again with another time.
      if (this.#since.get(key) !== since) continue;
      this.#since.delete(key);
      yield { key, since };
    }
  }
}
