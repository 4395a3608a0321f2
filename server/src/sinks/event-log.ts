import type { TracerEvent } from '../contract/events.ts';

export interface EventLogOptions {
  /** Most events kept; beyond it the oldest are evicted. */
  keep: number;
  /** Name of this log. Another run of the daemon has another one, and cursors are valid in one log only. */
  id: string;
}

export interface EventPage {
  events: TracerEvent[];
  /** Cursor for the next read: everything up to it has been read. */
  next: number;
  /** True if the log has events after `next`. */
  more: boolean;
  /** Events after the cursor that were evicted before they were read. */
  dropped: number;
}

/** The newest events, by their seq, which begins at 1 and grows by one. Bounded; counts what it evicts. */
export class EventLog {
  readonly id: string;
  readonly #keep: number;
  readonly #ring: TracerEvent[] = [];
  readonly #listeners = new Set<() => void>();
  /** Seq of the newest event, 0 before the first. */
  #newest = 0;
  #dropped = 0;

  constructor(options: EventLogOptions) {
    this.#keep = options.keep;
    this.id = options.id;
  }

  get newest(): number {
    return this.#newest;
  }

  /** Seq of the oldest event kept; newest + 1 where there is none. */
  get oldest(): number {
    return this.#newest - this.#ring.length + 1;
  }

  /** The oldest event kept. */
  get first(): TracerEvent | undefined {
    return this.#ring.length === 0 ? undefined : this.#ring[this.#slot(this.oldest)];
  }

  /** Events evicted since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  append(event: TracerEvent): void {
    if (event.seq !== this.#newest + 1) {
      throw new RangeError(`event ${event.seq} does not follow ${this.#newest}`);
    }
    if (this.#ring.length === this.#keep) this.#dropped += 1;
    this.#ring[this.#slot(event.seq)] = event;
    this.#newest = event.seq;
    for (const listener of this.#listeners) listener();
  }

  /** Calls back after each append until the returned function is called. */
  onAppend(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** At most `limit` matching events after the cursor, oldest first. */
  read(after: number, limit: number, matches: (event: TracerEvent) => boolean = () => true): EventPage {
    const start = Math.max(after + 1, this.oldest);
    const events: TracerEvent[] = [];
    let seq = start;
    for (; seq <= this.#newest && events.length < limit; seq++) {
      const event = this.#ring[this.#slot(seq)];
      if (event !== undefined && matches(event)) events.push(event);
    }
    return { events, next: Math.max(after, seq - 1), more: seq <= this.#newest, dropped: start - after - 1 };
  }

  /** At most `limit` matching events, the newest first. */
  latest(limit: number, matches: (event: TracerEvent) => boolean): TracerEvent[] {
    const events: TracerEvent[] = [];
    for (let seq = this.#newest; seq >= this.oldest && events.length < limit; seq--) {
      const event = this.#ring[this.#slot(seq)];
      if (event !== undefined && matches(event)) events.push(event);
    }
    return events;
  }

  /** Seqs begin at 1, so the ring fills from its first slot and its length is the number of events in it. */
  #slot(seq: number): number {
    return (seq - 1) % this.#keep;
  }
}
