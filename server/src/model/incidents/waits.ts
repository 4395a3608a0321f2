/** Things that become due when they have lasted for one same time, by the order in which they began. */
export class Waits {
  readonly #since = new Map<number, number>();

  add(key: number, since: number): void {
    this.#since.set(key, since);
  }

  delete(key: number): void {
    this.#since.delete(key);
  }

  /** Takes out what began at `until` or before; a few that two processors have swapped come with the next. */
  *due(until: number): Generator<{ key: number; since: number }> {
    for (const [key, since] of this.#since) {
      if (since > until) return;
      this.#since.delete(key);
      yield { key, since };
    }
  }
}
