/**
 * A map in the order of insertion that finds its oldest key in constant time. In a plain Map, `keys().next()` walks over the
 * places of all keys that were deleted since the engine last rebuilt its table.
 */
export class FifoMap<K, V> {
  readonly #map = new Map<K, V>();
  #keys: IterableIterator<K> = this.#map.keys();
  /** The key that the iterator has returned last, while it is in the map. */
  #oldest: { key: K } | null = null;

  get size(): number {
    return this.#map.size;
  }

  has(key: K): boolean {
    return this.#map.has(key);
  }

  get(key: K): V | undefined {
    return this.#map.get(key);
  }

  /** Inserts as the newest; a key that is there already becomes the newest. */
  set(key: K, value: V): void {
    this.delete(key);
    this.#map.set(key, value);
  }

  delete(key: K): boolean {
    if (this.#oldest !== null && this.#oldest.key === key) this.#oldest = null;
    return this.#map.delete(key);
  }

  /** The key that was inserted first; undefined where there is none. */
  oldest(): K | undefined {
    if (this.#oldest !== null) return this.#oldest.key;
    if (this.#map.size === 0) return undefined;
    let next = this.#keys.next();
    if (next.done) {
      this.#keys = this.#map.keys();
      next = this.#keys.next();
    }
    if (next.done) return undefined;
    this.#oldest = { key: next.value };
    return next.value;
  }

  /** Evicts the oldest until at most `limit` are left; returns how many were evicted. */
  limit(limit: number): number {
    let evicted = 0;
    for (; this.#map.size > limit; evicted += 1) {
      const key = this.oldest();
      if (key === undefined) break;
      this.delete(key);
    }
    return evicted;
  }

  values(): IterableIterator<V> {
    return this.#map.values();
  }

  entries(): IterableIterator<[K, V]> {
    return this.#map.entries();
  }
}
