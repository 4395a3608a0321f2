/** A binary heap with the smallest item first. Adding and removing take logarithmic time. */
export class MinHeap<T> {
  readonly #isBefore: (one: T, other: T) => boolean;
  #items: T[] = [];

  constructor(isBefore: (one: T, other: T) => boolean) {
    this.#isBefore = isBefore;
  }

  get size(): number {
    return this.#items.length;
  }

  /** The smallest item; undefined if the heap is empty. */
  get first(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    this.#items.push(item);
    this.#up(this.#items.length - 1);
  }

  /** Removes the smallest item and returns it. */
  pop(): T | undefined {
    const [first] = this.#items;
    if (first !== undefined) this.#removeAt(0);
    return first;
  }

  /** Removes one item that equals this one, in linear time. Returns false if there is none. */
  remove(item: T): boolean {
    const index = this.#items.indexOf(item);
    if (index === -1) return false;
    this.#removeAt(index);
    return true;
  }

  /** Keeps only the items for which `isWanted` returns true, in linear time. */
  keep(isWanted: (item: T) => boolean): void {
    this.#items = this.#items.filter(isWanted);
    for (let index = (this.#items.length >> 1) - 1; index >= 0; index -= 1) this.#down(index);
  }

  #removeAt(index: number): void {
    const last = this.#items.pop() as T;
    if (index === this.#items.length) return;
    this.#items[index] = last;
    this.#down(index);
    this.#up(index);
  }

  #up(from: number): void {
    const items = this.#items;
    const item = items[from] as T;
    let index = from;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.#isBefore(item, items[parent] as T)) break;
      items[index] = items[parent] as T;
      index = parent;
    }
    items[index] = item;
  }

  #down(from: number): void {
    const items = this.#items;
    const item = items[from] as T;
    let index = from;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && this.#isBefore(items[child + 1] as T, items[child] as T)) child += 1;
      if (!this.#isBefore(items[child] as T, item)) break;
      items[index] = items[child] as T;
      index = child;
    }
    items[index] = item;
  }
}
