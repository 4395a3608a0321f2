export type Labels = Readonly<Record<string, string>>;

export function labelKey(labels: Labels): string {
  return JSON.stringify(Object.values(labels));
}

/** The label set that stands for all that a full family has no room for. */
export function otherLabels(labels: Labels): Labels {
  return Object.fromEntries(Object.keys(labels).map((name) => [name, 'other']));
}

/**
 * The series of one family, at most `limit` label sets: later ones share one `other` series. Who comes first stays, in
 * the order of the stream, so that no series ever moves and no counter goes back.
 */
export class SeriesSet<S> {
  readonly #limit: number;
  readonly #create: (labels: Labels) => S;
  readonly #series = new Map<string, S>();
  /** Label sets that were folded; one that is folded again under a new child counts again. */
  folded = 0;

  constructor(limit: number, create: (labels: Labels) => S) {
    this.#limit = limit;
    this.#create = create;
  }

  admit(labels: Labels): S {
    const key = labelKey(labels);
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    if (this.#series.size < this.#limit || Object.keys(labels).length === 0) return this.#add(key, labels);
    this.folded += 1;
    const rest = otherLabels(labels);
    return this.#series.get(labelKey(rest)) ?? this.#add(labelKey(rest), rest);
  }

  all(): S[] {
    return [...this.#series.values()];
  }

  #add(key: string, labels: Labels): S {
    const created = this.#create(labels);
    this.#series.set(key, created);
    return created;
  }
}
