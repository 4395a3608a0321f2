import { FifoMap } from '../support/fifo-map.ts';

export type Labels = Readonly<Record<string, string>>;

export function labelKey(labels: Labels): string {
  return JSON.stringify(Object.values(labels));
}

/** The label set that stands for all that a full family has no room for. */
export function otherLabels(labels: Labels): Labels {
  return Object.fromEntries(Object.keys(labels).map((name) => [name, 'other']));
}

/** Label sets that are remembered as folded; after that the same one may count again. */
const FOLDED_LIMIT = 100_000;

/**
 * The series of one family, at most `limit` label sets: later ones share one `other` series. Who comes first stays, in
 * the order of the stream, so that no series ever moves and no counter goes back.
 */
export class SeriesSet<S> {
  readonly #limit: number;
  readonly #create: (labels: Labels) => S;
  readonly #series = new Map<string, S>();
  /** Series that are not shown now, by what they were: one that comes back goes on from there. */
  readonly #parked = new FifoMap<string, S>();
  /** Label sets that were folded, each once until `forgetFolded`. */
  readonly #folded = new Set<string>();
  #foldedBefore = 0;

  constructor(limit: number, create: (labels: Labels) => S) {
    this.#limit = limit;
    this.#create = create;
  }

  /** How many label sets were folded; one that is folded again under a new child counts again. */
  get folded(): number {
    return this.#foldedBefore + this.#folded.size;
  }

  /** The keys of a child that has ended are of no more use, and shall not fill the memory. */
  forgetFolded(): void {
    this.#foldedBefore += this.#folded.size;
    this.#folded.clear();
  }

  admit(labels: Labels): S {
    const key = labelKey(labels);
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    if (this.#series.size < this.#limit || Object.keys(labels).length === 0) {
      return this.#add(key, this.#parked.get(key) ?? this.#create(labels));
    }
    if (this.#folded.size >= FOLDED_LIMIT) this.forgetFolded();
    this.#folded.add(key);
    const rest = otherLabels(labels);
    return this.#series.get(labelKey(rest)) ?? this.#add(labelKey(rest), this.#create(rest));
  }

  /** Takes a series out until it is admitted again; as many as may be shown are remembered. */
  park(labels: Labels): void {
    const key = labelKey(labels);
    const series = this.#series.get(key);
    if (series === undefined) return;
    this.#series.delete(key);
    this.#parked.set(key, series);
    this.#parked.limit(this.#limit);
  }

  all(): S[] {
    return [...this.#series.values()];
  }

  #add(key: string, series: S): S {
    this.#parked.delete(key);
    this.#series.set(key, series);
    return series;
  }
}
