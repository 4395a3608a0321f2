import { FifoMap } from '../lib/fifo-map.ts';

export type Labels = Readonly<Record<string, string>>;

export function labelKey(labels: Labels): string {
  return JSON.stringify(Object.values(labels));
}

/** The label set of the series into which a full family folds new label sets. */
function otherLabels(labels: Labels): Labels {
  return Object.fromEntries(Object.keys(labels).map((name) => [name, 'other']));
}

/** The most folded label sets that are kept. Beyond that, a label set may count as folded again. */
const FOLDED_LIMIT = 100_000;

/**
 * The series of one family, at most `limit` label sets. Later label sets share one `other` series. The first label sets
 * of the stream keep their series, so a series never moves and a counter never decreases.
 */
export class SeriesSet<S> {
  readonly #limit: number;
  readonly #create: (labels: Labels) => S;
  readonly #series = new Map<string, S>();
  /** Hidden series by their labels. A series that comes back continues from its last value. */
  readonly #parked = new FifoMap<string, S>();
  /** Label sets that were folded, each once until `clearFolded`. */
  readonly #folded = new Set<string>();
  #foldedBefore = 0;

  constructor(limit: number, create: (labels: Labels) => S) {
    this.#limit = limit;
    this.#create = create;
  }

  /** Number of folded label sets. A label set that is folded again under a new child counts again. */
  get folded(): number {
    return this.#foldedBefore + this.#folded.size;
  }

  /** Frees the keys of a child that has ended, and keeps their count. */
  clearFolded(): void {
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
    if (this.#folded.size >= FOLDED_LIMIT) this.clearFolded();
    this.#folded.add(key);
    const rest = otherLabels(labels);
    return this.#series.get(labelKey(rest)) ?? this.#add(labelKey(rest), this.#create(rest));
  }

  /** Hides a series until it is admitted again. At most `limit` hidden series are kept. */
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
