import { collectDefaultMetrics, Registry } from 'prom-client';
import { HISTOGRAMS } from '../model/counters.ts';
import type { TracerModel } from '../tracer/tracer.ts';
import type { FamilySource, MetricFamily } from './exposition.ts';
import { type FamilySpec, PREFIX } from './family.ts';
import { INCIDENT_FAMILIES } from './incident-families.ts';
import { KERNEL_FAMILIES, SUFFIX } from './kernel-families.ts';
import { type ReadMetric, register } from './read-metrics.ts';
import { SELF_FAMILIES } from './self-families.ts';
import { STATE_FAMILIES } from './state-families.ts';

export interface CatalogueOptions {
  model: TracerModel;
  /** Adds `process_*` and `nodejs_*`. Not for `replay --print`, whose output must depend on the recording only. */
  processMetrics: boolean;
}

const FOLDED: FamilySpec = {
  name: 'series_folded_total',
  help: 'Label sets of a counter that were folded into its series `other`.',
  details:
    'A family has a limited number of series (--metrics.max-series). After a restart of bpftrace, the same label sets are counted again.',
  type: 'counter',
  samples: (model) => {
    return Object.entries(model.counters.folded()).map(([name, value]) => ({
      labels: { metric: `${PREFIX}${name}${SUFFIX[name in HISTOGRAMS ? 'histogram' : 'counter']}` },
      value,
    }));
  },
};

const FOLDED_NOW = {
  name: 'series_folded',
  help: 'Label sets of a gauge that are folded into its series `other`.',
  details: 'A family has a limited number of series (--metrics.max-series).',
  type: 'gauge',
} as const;

/** All families in the order of the exposition. */
export const FAMILIES: readonly FamilySpec[] = [
  ...KERNEL_FAMILIES,
  ...STATE_FAMILIES,
  ...INCIDENT_FAMILIES,
  ...SELF_FAMILIES,
  FOLDED,
];

/** All metric families of one server, in a separate registry. */
export class Catalogue implements FamilySource {
  readonly #registry = new Registry();
  readonly #foldedNow = new Map<string, number>();

  constructor({ model, processMetrics }: CatalogueOptions) {
    for (const { name, help, type, present, samples } of FAMILIES) {
      this.add({
        name,
        help,
        type,
        samples: () =>
          present?.(model) === false
            ? []
            : samples(model, (labelSets) => this.#foldedNow.set(name, labelSets)),
      });
    }
    // After the gauges, because the registry reads metrics in the order of registration.
    this.add({
      ...FOLDED_NOW,
      samples: () =>
        Array.from(this.#foldedNow, ([name, value]) => ({
          labels: { metric: `${PREFIX}${name}` },
          value,
        })),
    });
    if (processMetrics) collectDefaultMetrics({ register: this.#registry });
  }

  /** Adds a family after those of the model. `name` has no prefix. */
  add(metric: ReadMetric): void {
    register(this.#registry, { ...metric, name: `${PREFIX}${metric.name}` });
  }

  async families(): Promise<readonly MetricFamily[]> {
    const families = await this.#registry.getMetricsAsJSON();
    return families.flatMap(({ name, help, type: word, values }) => {
      // The declaration of prom-client says that the type is a number.
      const type = TYPES.find((one) => one === String(word));
      // nodejs_active_*_total are gauges, but OpenMetrics reserves the suffix _total for counters.
      if (type === undefined || (type === 'gauge' && name.endsWith('_total'))) return [];
      return [{ name, help, type, values }];
    });
  }
}

const TYPES: readonly MetricFamily['type'][] = ['counter', 'gauge', 'histogram', 'summary'];
