import type { CounterRead } from '../protocol/maps.ts';

interface Count {
  /** A counter line of this key. */
  raw: string;
  value: number;
}

/** The most keys that are kept: more than all maps of one child have. */
const KEYS_LIMIT = 200_000;
/** The value at the end of a counter line. */
const VALUE = /"?\d+"?\]\}\s*$/;

/**
 * The counts of the children that have ended. A child counts from zero, so a reader that joins later would not get them
 * from the running one.
 */
export class PastCounts {
  /** False if there were more keys than the limit: some counts are missing. */
  isComplete = true;
  #running = new Map<string, Count>();
  readonly #past = new Map<string, Count>();

  observe(raw: string, { name, key, value }: CounterRead): void {
    const subject = `${name} ${key}`;
    const known = this.#running.get(subject);
    if (known !== undefined) known.value = value;
    else if (this.#running.size < KEYS_LIMIT) this.#running.set(subject, { raw, value });
    else this.isComplete = false;
  }

  /** The running child has ended. */
  childEnded(): void {
    for (const [subject, count] of this.#running) {
      const known = this.#past.get(subject);
      if (known !== undefined) known.value += count.value;
      else if (this.#past.size < KEYS_LIMIT) this.#past.set(subject, count);
      else this.isComplete = false;
    }
    this.#running = new Map();
  }

  /** Counter lines with the sums over the children that have ended. */
  lines(): string[] {
    return Array.from(this.#past.values(), ({ raw, value }) => raw.replace(VALUE, `${value}]}`));
  }
}
