import { type Labels, SeriesSet } from '../model/series-set.ts';
import type { TracerModel } from '../tracer/tracer.ts';
import type { MetricSample } from './exposition.ts';

export const PREFIX = 'vfio_dmabuf_';

/** One family of the catalogue, read from the model at each scrape. */
export interface FamilySpec {
  /** Name without the prefix; a counter ends in `_total`. */
  name: string;
  /** One short sentence: what is counted, with the kernel functions in brackets. */
  help: string;
  /** More information for docs/metrics.md. */
  details?: string | undefined;
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
