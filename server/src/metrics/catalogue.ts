import { collectDefaultMetrics, Registry } from 'prom-client';
import { HISTOGRAMS } from '../model/counters.ts';
import type { TracerModel } from '../tracer/tracer.ts';
import type { FamilySource, MetricFamily, MetricSample } from './exposition.ts';
import type { FamilySpec } from './family.ts';
import { INCIDENT_FAMILIES } from './incident-families.ts';
import { KERNEL_FAMILIES } from './kernel-families.ts';
import { SELF_FAMILIES } from './self-families.ts';
import { STATE_FAMILIES } from './state-families.ts';

export const PREFIX = 'vfio_dmabuf_';

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

const TYPES: readonly MetricFamily['type'][] = ['counter', 'gauge', 'histogram', 'summary'];

/** All metric families of one server. Most are read from the model; prom-client has only those of the process. */
export class Catalogue implements FamilySource {
  readonly #families = new Map<string, () => MetricFamily>();
  readonly #process = new Registry();
  readonly #foldedNow = new Map<string, number>();

  constructor({ model, processMetrics }: CatalogueOptions) {
    for (const { name, help, type, present, samples } of FAMILIES) {
      this.#families.set(name, () => {
        const values =
          present?.(model) === false
            ? []
            : samples(model, (labelSets) => this.#foldedNow.set(name, labelSets));
        return { name: `${PREFIX}${name}`, help, type, values };
      });
    }
    // After the gauges, because it has what they fold when they are read.
    this.#families.set(FOLDED_NOW.name, () => ({
      ...FOLDED_NOW,
      name: `${PREFIX}${FOLDED_NOW.name}`,
      values: Array.from(this.#foldedNow, ([name, value]) => ({
        labels: { metric: `${PREFIX}${name}` },
        value,
      })),
    }));
    if (processMetrics) collectDefaultMetrics({ register: this.#process });
  }

  /** Adds a family after those of the model. */
  add({ name, help, type, samples }: ExtraFamily): void {
    if (this.#families.has(name)) throw new Error(`there is already a family ${name}`);
    this.#families.set(name, () => ({ name: `${PREFIX}${name}`, help, type, values: samples() }));
  }

  async families(): Promise<readonly MetricFamily[]> {
    return [...Array.from(this.#families.values(), (read) => read()), ...(await this.#processFamilies())];
  }

  async #processFamilies(): Promise<MetricFamily[]> {
    const families = await this.#process.getMetricsAsJSON();
    return families.flatMap(({ name, help, type: word, values }) => {
      // The declaration of prom-client says that the type is a number.
      const type = TYPES.find((one) => one === String(word));
      // nodejs_active_*_total are gauges, but OpenMetrics reserves the suffix _total for counters.
      if (type === undefined || (type === 'gauge' && name.endsWith('_total'))) return [];
      return [{ name, help, type, values }];
    });
  }
}
