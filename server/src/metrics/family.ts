import type { CounterName, HistogramName } from '../model/counters.ts';
import { type Labels, labelKey, SeriesSet } from '../model/series-set.ts';
import { DURATION_BOUNDS } from '../protocol/codes.ts';
import type { TracerModel } from '../tracer/tracer.ts';
import type { MetricSample } from './exposition.ts';

/** One family of the catalogue, read from the model at each scrape. */
export interface FamilySpec {
  /** Name without the prefix; a counter ends in `_total`. */
  name: string;
  /** One short sentence: what is counted, with the kernel functions in brackets. */
  help: string;
  /** More information for docs/metrics.md. */
  details?: string;
  type: 'counter' | 'gauge' | 'histogram';
  /** False if no attached probe feeds the family. Then it is absent, because a zero would mean that nothing happened. */
  present?: (model: TracerModel) => boolean;
  samples: (model: TracerModel, onFolded?: OnFolded) => MetricSample[];
}

/** Receives the number of label sets that a gauge folded at this scrape. */
export type OnFolded = (labelSets: number) => void;

export function single(value: number): MetricSample[] {
  return [{ labels: {}, value }];
}

/** True if any of these probes has been attached in this stream. */
export function fedBy(...probes: readonly string[]): (model: TracerModel) => boolean {
  return (model) => probes.some((probe) => model.wasAttached(probe));
}

/** A counter from kernel maps. `known` are label sets that exist with 0 before their first event. */
export function kernelCounter(
  spec: Omit<FamilySpec, 'type' | 'samples'> & {
    counter: CounterName;
    known?: (model: TracerModel) => readonly Labels[];
  },
): FamilySpec {
  const { counter, known, ...rest } = spec;
  return {
    ...rest,
    type: 'counter',
    samples: (model) => {
      const series = model.counters.counter(counter);
      const present = new Set(series.map(({ labels }) => labelKey(labels)));
      const missing = (known?.(model) ?? []).filter((labels) => !present.has(labelKey(labels)));
      return [...series, ...missing.map((labels) => ({ labels, value: 0 }))];
    },
  };
}

/** A histogram whose buckets are counted in the kernel. */
export function kernelHistogram(
  spec: Omit<FamilySpec, 'type' | 'samples'> & { histogram: HistogramName; known?: readonly Labels[] },
): FamilySpec {
  const { histogram, known = [], ...rest } = spec;
  const name = `vfio_dmabuf_${rest.name}`;
  return {
    ...rest,
    type: 'histogram',
    samples: (model) => {
      const series = model.counters.histogram(histogram);
      const shown = series.length > 0 ? series : known.map((labels) => ({ labels, buckets: [], sumNs: 0 }));
      return shown.flatMap(({ labels, buckets, sumNs }) => histogramSamples(name, labels, buckets, sumNs));
    },
  };
}

function histogramSamples(
  name: string,
  labels: Labels,
  buckets: readonly number[],
  sumNs: number,
): MetricSample[] {
  const samples: MetricSample[] = [];
  let count = 0;
  for (let bucket = 0; bucket <= DURATION_BOUNDS.length; bucket += 1) {
    count += buckets[bucket] ?? 0;
    const le = DURATION_BOUNDS[bucket];
    samples.push({
      metricName: `${name}_bucket`,
      labels: { ...labels, le: le === undefined ? '+Inf' : String(le) },
      value: count,
    });
  }
  samples.push({ metricName: `${name}_sum`, labels, value: sumNs / 1e9 });
  samples.push({ metricName: `${name}_count`, labels, value: count });
  return samples;
}

/** Sums values with the same labels. At most `limit` label sets are kept; further ones are added to `other`. */
export function sumByLabels(
  rows: Iterable<{ labels: Labels; value: number }>,
  limit: number,
  onFolded?: OnFolded,
): MetricSample[] {
  const sums = new SeriesSet<{ labels: Labels; value: number }>(limit, (labels) => ({ labels, value: 0 }));
  for (const { labels, value } of rows) sums.admit(labels).value += value;
  onFolded?.(sums.folded);
  return sums.all();
}

/** Info series with the value 1. Equal label sets become one series. */
export function infos(rows: Iterable<Labels>, limit: number, onFolded?: OnFolded): MetricSample[] {
  const ones = sumByLabels(
    Array.from(rows, (labels) => ({ labels, value: 1 })),
    limit,
    onFolded,
  );
  return ones.map(({ labels }) => ({ labels, value: 1 }));
}

/** One series for each key of a fixed set. */
export function byKey(label: string, counts: Readonly<Record<string, number>>): MetricSample[] {
  return Object.entries(counts).map(([key, value]) => ({ labels: { [label]: key }, value }));
}
