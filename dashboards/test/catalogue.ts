import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

export const REPOSITORY = join(import.meta.dirname, '../..');
export const RULES = join(REPOSITORY, 'dashboards/rules');
export const RULE_FILES = ['recording.yaml', 'alerts-tracer.yaml', 'alerts-sharing.yaml'] as const;

export interface Rule {
  record?: string;
  alert?: string;
  expr: string;
  for?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}
export interface RuleFile {
  groups: { name: string; rules: Rule[] }[];
}

export const readRules = (file: string): Rule[] =>
  (parse(readFileSync(join(RULES, file), 'utf8')) as RuleFile).groups.flatMap(({ rules }) => rules);

/** The labels that the scrape configuration adds to each series. */
const TARGET = ['cluster', 'job', 'instance'];

/** Metrics of Prometheus itself, and those of the process, which docs/metrics.md leaves out. */
const OTHERS: Record<string, string[]> = {
  up: [],
  scrape_duration_seconds: [],
  scrape_samples_scraped: [],
  ALERTS: ['alertname', 'alertstate', 'severity', 'device'],
  process_cpu_seconds_total: [],
  process_resident_memory_bytes: [],
  nodejs_eventloop_lag_p99_seconds: [],
};

export interface Metric {
  labels: ReadonlySet<string>;
  /** Its family in docs/metrics.md; none for metrics of Prometheus and of the rules. */
  family?: string;
}

/** The families of docs/metrics.md, which tools/test/docs.test.ts compares with what the program serves. */
export function families(): { name: string; type: string; labels: string[] }[] {
  const page = readFileSync(join(REPOSITORY, 'docs/metrics.md'), 'utf8');
  return [...page.matchAll(/^\| `(vfio_dmabuf_\w+)` \| (\w+) \| ([^|]+) \|/gm)].map(
    ([, name = '', type = '', labels = '']) => ({
      name,
      type,
      labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label = '']) => label),
    }),
  );
}

/** Every series that a query may name, with its labels. */
export function catalogue(): Map<string, Metric> {
  const known = new Map<string, Metric>();
  for (const [name, labels] of Object.entries(OTHERS))
    known.set(name, { labels: new Set([...TARGET, ...labels]) });
  for (const { name, type, labels } of families()) {
    const own = [...TARGET, ...labels];
    if (type !== 'histogram') {
      known.set(name, { labels: new Set(own), family: name });
      continue;
    }
    known.set(`${name}_bucket`, { labels: new Set([...own, 'le']), family: name });
    for (const end of ['_sum', '_count']) known.set(`${name}${end}`, { labels: new Set(own), family: name });
  }
  for (const { record, expr } of readRules('recording.yaml')) {
    if (record === undefined) continue;
    // A recorded series has the labels of its outermost aggregation.
    const labels = /\bby \(([^)]+)\)/.exec(expr)?.[1]?.split(', ') ?? TARGET;
    known.set(record, { labels: new Set(labels) });
  }
  return known;
}
