interface Node<K, V> {
  readonly key: K;
  readonly value: V;
  older: Node<K, V> | null;
  newer: Node<K, V> | null;
}

/**
 * A map in insertion order that finds its oldest key in constant time. In a plain Map, `keys().next()` skips the slots
 * of all keys that were deleted since V8 last rebuilt its table. A stored iterator would keep these old tables in
 * memory.
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

  /** Inserts the key as the newest one. An existing key becomes the newest too. */
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

  /** The key that was inserted first; undefined if the map is empty. */
  oldest(): K | undefined {
    return this.#oldest?.key;
  }

  /** The key that was inserted after this one; undefined if there is none, or if this key is not in the map. */
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
