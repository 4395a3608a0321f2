/** One metric family, in the form that `getMetricsAsJSON()` of prom-client returns. */
export interface MetricFamily {
  name: string;
  help: string;
  type: 'counter' | 'gauge' | 'histogram' | 'summary';
  values: readonly MetricSample[];
}

export interface MetricSample {
  /** Name of the sample if it differs from the name of the family (`_bucket`, `_sum`, `_count`). */
  metricName?: string;
  labels: Readonly<Record<string, string | number | undefined>>;
  value: number;
}

export type ExpositionFormat = 'text' | 'openmetrics';

export const CONTENT_TYPES: Readonly<Record<ExpositionFormat, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

/** Source of families, such as a Catalogue. */
export interface FamilySource {
  families(): Promise<readonly MetricFamily[]>;
}

/** Renders all families of the source in the given format. */
export async function renderMetrics(source: FamilySource, format: ExpositionFormat): Promise<string> {
  return renderFamilies(await source.families(), format);
}

/** Renders families in the given order, with the series of each sorted by labels. A family without series is omitted. */
export function renderFamilies(families: readonly MetricFamily[], format: ExpositionFormat): string {
  const lines: string[] = [];
  for (const family of families) {
    if (family.values.length > 0) writeFamily(family, format, lines);
  }
  if (format === 'openmetrics') lines.push('# EOF');
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function writeFamily(family: MetricFamily, format: ExpositionFormat, lines: string[]): void {
  const { name, type } = family;
  // In OpenMetrics only the sample of a counter has the suffix `_total`. In text 0.0.4 the family has it too.
  const titled = format === 'openmetrics' && type === 'counter' ? name.replace(/_total$/, '') : name;
  const sampled = format === 'openmetrics' && type === 'counter' ? `${titled}_total` : name;
  lines.push(`# HELP ${titled} ${escapeHelp(family.help, format)}`, `# TYPE ${titled} ${type}`);
  for (const group of inOrder(family.values)) {
    for (const sample of group) {
      const labels = writeLabels(sample.labels, format);
      lines.push(`${sample.metricName ?? sampled}${labels} ${writeNumber(sample.value)}`);
    }
  }
}

/** Groups samples that differ only in `le` or `quantile` and keeps their order. The groups are sorted by labels. */
function inOrder(samples: readonly MetricSample[]): MetricSample[][] {
  const groups = new Map<string, MetricSample[]>();
  for (const sample of samples) {
    const { le: _le, quantile: _quantile, ...own } = sample.labels;
    const key = JSON.stringify(Object.entries(own));
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [sample]);
    else group.push(sample);
  }
  const compare = ([left]: [string, unknown], [right]: [string, unknown]) =>
    left < right ? -1 : left > right ? 1 : 0;
  return [...groups].sort(compare).map(([, group]) => group);
}

function writeLabels(labels: MetricSample['labels'], format: ExpositionFormat): string {
  const parts: string[] = [];
  for (const [name, value] of Object.entries(labels)) {
    if (value === undefined) continue;
    const text = name === 'le' && format === 'openmetrics' ? canonicalBound(String(value)) : String(value);
    parts.push(`${name}="${escapeLabel(text)}"`);
  }
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}

/** OpenMetrics requires bounds as floating point numbers: `1.0`, not `1`. */
function canonicalBound(bound: string): string {
  return /^-?\d+$/.test(bound) ? `${bound}.0` : bound;
}

function writeNumber(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(value);
}

function escapeLabel(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}

function escapeHelp(text: string, format: ExpositionFormat): string {
  const escaped = text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
  return format === 'openmetrics' ? escaped.replaceAll('"', '\\"') : escaped;
}

interface Accepted {
  format: ExpositionFormat;
  q: number;
}

/**
 * Selects the supported format with the highest q; of equal ones, the first in the header. Without a header, for any type, or if no
 * format matches, the result is text 0.0.4: a scrape in another format is better than a failed one.
 */
export function negotiate(accept: string | undefined): ExpositionFormat {
  let best: Accepted | null = null;
  for (const range of (accept ?? '').split(',')) {
    const accepted = readRange(range);
    if (accepted !== null && accepted.q > (best?.q ?? 0)) best = accepted;
  }
  return best?.format ?? 'text';
}

function readRange(range: string): Accepted | null {
  const [type = '', ...rest] = range.split(';').map((part) => part.trim().toLowerCase());
  const parameters = new Map(rest.map((part) => readParameter(part)));
  const q = Number(parameters.get('q') ?? 1);
  if (!(q > 0 && q <= 1)) return null;
  const version = parameters.get('version');
  switch (type) {
    case 'application/openmetrics-text':
      return version === undefined || version === '1.0.0' ? { format: 'openmetrics', q } : null;
    case 'text/plain':
      return version === undefined || version === '0.0.4' ? { format: 'text', q } : null;
    case 'text/*':
    case '*/*':
      return { format: 'text', q };
    default:
      return null;
  }
}

function readParameter(part: string): [string, string] {
  const [name = '', value = ''] = part.split('=').map((side) => side.trim());
  return [name, value.replace(/^"(.*)"$/, '$1')];
}
