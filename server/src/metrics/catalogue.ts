import { collectDefaultMetrics, type Metric, Registry } from 'prom-client';
import { HISTOGRAMS } from '../model/counters.ts';
import type { TracerModel } from '../tracer/tracer.ts';
import type { FamilySource, MetricFamily, MetricSample } from './exposition.ts';
import { type FamilySpec, PREFIX } from './family.ts';
import { INCIDENT_FAMILIES } from './incident-families.ts';
import { KERNEL_FAMILIES } from './kernel-families.ts';
import { SELF_FAMILIES } from './self-families.ts';
import { STATE_FAMILIES } from './state-families.ts';

/** A family of another part, such as HTTP, read at each scrape. The name has no `vfio_dmabuf_` prefix. */
export interface ExtraFamily {
  name: string;
  help: string;
  type: 'counter' | 'gauge';
  samples: () => readonly MetricSample[];
}

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
      labels: { metric: `${PREFIX}${name}${name in HISTOGRAMS ? '_seconds' : '_total'}` },
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
    for (const spec of FAMILIES) {
      this.#register(spec.name, spec.help, spec.type, () => {
        if (spec.present !== undefined && !spec.present(model)) return [];
        return spec.samples(model, (labelSets) => this.#foldedNow.set(spec.name, labelSets));
      });
    }
    // Registered after the gauges, because the registry reads metrics in the order of registration.
    this.#register(FOLDED_NOW.name, FOLDED_NOW.help, FOLDED_NOW.type, () =>
      Array.from(this.#foldedNow, ([name, value]) => ({ labels: { metric: `${PREFIX}${name}` }, value })),
    );
    if (processMetrics) collectDefaultMetrics({ register: this.#registry });
  }

  /** Adds a family after those of the model. */
  add({ name, help, type, samples }: ExtraFamily): void {
    this.#register(name, help, type, samples);
  }

  async families(): Promise<readonly MetricFamily[]> {
    const families = (await this.#registry.getMetricsAsJSON()) as unknown as MetricFamily[];
    // nodejs_active_*_total are gauges, but OpenMetrics reserves the suffix _total for counters.
    return families.filter(({ name, type }) => !(type === 'gauge' && name.endsWith('_total')));
  }

  /**
   * The classes of prom-client keep counts themselves. These metrics are counted elsewhere, mostly in the kernel, so each is an object
   * with only the method that the registry calls.
   */
  #register(
    name: string,
    help: string,
    type: MetricFamily['type'],
    samples: () => readonly MetricSample[],
  ): void {
    const metric = {
      name: `${PREFIX}${name}`,
      get: async () => ({ name: `${PREFIX}${name}`, help, type, values: samples(), aggregator: 'sum' }),
    };
    this.#registry.registerMetric(metric as unknown as Metric);
  }
}
