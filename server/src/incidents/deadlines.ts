import { MinHeap } from '../lib/min-heap.ts';

interface Entry {
  readonly key: number;
  readonly since: number;
  readonly order: number;
}

/** The heap keeps stale entries, of deleted or changed keys, up to the number of keys plus this number. */
const SPARE_ENTRIES = 64;

/**
 * Keys with a start time. `due` returns those that started early enough, oldest first. The order of `add` does not
 * matter.
 */
export class Deadlines {
  readonly #since = new Map<number, number>();
  readonly #entries = new MinHeap<Entry>(
    (one, other) => one.since < other.since || (one.since === other.since && one.order < other.order),
  );
  #order = 0;

  get size(): number {
    return this.#since.size;
  }

  /** Adds a key, or sets the start time of an existing one. */
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

  /** Removes and returns the keys that started at `until` or before. */
  *due(until: number): Generator<{ key: number; since: number }> {
    for (;;) {
      const { first } = this.#entries;
      if (first === undefined || first.since > until) return;
      this.#entries.pop();
      const { key, since } = first;
      // A stale entry: the key was deleted, or has another start time now.
      if (this.#since.get(key) !== since) continue;
      this.#since.delete(key);
      yield { key, since };
    }
  }
}
