/** One metric family, the shape that prom-client's `getMetricsAsJSON()` gives. */
export interface MetricFamily {
  name: string;
  help: string;
  type: 'counter' | 'gauge' | 'histogram' | 'summary';
  values: readonly MetricSample[];
}

export interface MetricSample {
  /** Name of the sample where it differs from the family's (`_bucket`, `_sum`, `_count`). */
  metricName?: string;
  labels: Readonly<Record<string, string | number | undefined>>;
  value: number;
}

export type ExpositionFormat = 'text' | 'openmetrics';

export const CONTENT_TYPES: Readonly<Record<ExpositionFormat, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

/** The format of the highest q that we speak; text 0.0.4 where there is no header or nothing fits. */
export function negotiate(_accept: string | undefined): ExpositionFormat {
  return 'text';
}

/** Anything that gives families: a Catalogue. */
export interface FamilySource {
  families(): Promise<readonly MetricFamily[]>;
}

/** One scrape: all families of the catalogue in the given format. */
export async function renderMetrics(source: FamilySource, format: ExpositionFormat): Promise<string> {
  return renderFamilies(await source.families(), format);
}

export function renderFamilies(_families: readonly MetricFamily[], _format: ExpositionFormat): string {
  return '';
}
