/** One series of a counter: cumulative over all bpftrace children, never going back. */
export interface CounterSeries {
  readonly labels: Readonly<Record<string, string>>;
  value: number;
}

/** One series of a histogram; `buckets[b]` counts the durations of bucket b alone (not cumulative), `sum` is in seconds. */
export interface HistogramSeries {
  readonly labels: Readonly<Record<string, string>>;
  readonly buckets: number[];
  sum: number;
}
