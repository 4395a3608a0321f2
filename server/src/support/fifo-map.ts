interface Node<K, V> {
  readonly key: K;
  readonly value: V;
  older: Node<K, V> | null;
  newer: Node<K, V> | null;
}

/**
 * A map in the order of insertion that finds its oldest key in constant time. In a plain Map, `keys().next()` walks over the
 * places of all keys that were deleted since the engine last rebuilt its table; an iterator that is kept keeps each such table.
 */
export class FifoMap<K, V> {
  readonly #nodes = new Map<K, Node<K, V>>();
  #oldest: Node<K, V> | null = null;
  #newest: Node<K, V> | null = null;

  get size(): number {
    return this.#nodes.size;
  }

  has(key: K): boolean {
    return this.#nodes.has(key);
  }

  get(key: K): V | undefined {
    return this.#nodes.get(key)?.value;
  }

  /** Inserts as the newest; a key that is there already becomes the newest. */
  set(key: K, value: V): void {
    this.delete(key);
    const node: Node<K, V> = { key, value, older: this.#newest, newer: null };
    if (this.#newest === null) this.#oldest = node;
    else this.#newest.newer = node;
    this.#newest = node;
    this.#nodes.set(key, node);
  }

  delete(key: K): boolean {
    const node = this.#nodes.get(key);
    if (node === undefined) return false;
    if (node.older === null) this.#oldest = node.newer;
    else node.older.newer = node.newer;
    if (node.newer === null) this.#newest = node.older;
    else node.newer.older = node.older;
    return this.#nodes.delete(key);
  }

  /** The key that was inserted first; undefined where there is none. */
  oldest(): K | undefined {
    return this.#oldest?.key;
  }

  /** The key that was inserted after this one; undefined where there is none, or no such key. */
  next(key: K): K | undefined {
    return this.#nodes.get(key)?.newer?.key;
  }

  /** Evicts the oldest until at most `limit` are left; returns how many were evicted. */
  limit(limit: number): number {
    let evicted = 0;
    for (; this.#nodes.size > limit && this.#oldest !== null; evicted += 1) this.delete(this.#oldest.key);
    return evicted;
  }

  *values(): Generator<V> {
    for (const { value } of this.#nodes.values()) yield value;
  }

  *entries(): Generator<[K, V]> {
    for (const { key, value } of this.#nodes.values()) yield [key, value];
  }
}
