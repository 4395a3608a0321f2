import { Counter, Gauge, Histogram, type HistogramConfiguration, type Registry } from 'prom-client';
import type { MetricSample } from './exposition.ts';

/** What one of our metrics is, and how its samples are read. */
export interface ReadMetric {
  name: string;
  help: string;
  type: 'counter' | 'gauge' | 'histogram';
  samples: () => readonly MetricSample[];
}

/**
 * The metrics of prom-client keep counts themselves. Ours are counted elsewhere, mostly in the kernel, so each reads its
 * samples when the registry asks for them.
 */
class ReadCounter extends Counter {
  samples: ReadMetric['samples'] = () => [];

  override async get() {
    return { ...(await super.get()), values: [...this.samples()] };
  }
}

class ReadGauge extends Gauge {
  samples: ReadMetric['samples'] = () => [];

  override async get() {
    return { ...(await super.get()), values: [...this.samples()] };
  }
}

class ReadHistogram extends Histogram {
  samples: ReadMetric['samples'] = () => [];
  readonly #name: string;

  constructor(configuration: HistogramConfiguration<string>) {
    super(configuration);
    this.#name = configuration.name;
  }

  override async get() {
    const values = this.samples().map((sample) => ({ metricName: this.#name, ...sample }));
    return { ...(await super.get()), values };
  }
}

const CLASSES = { counter: ReadCounter, gauge: ReadGauge, histogram: ReadHistogram };

/** @throws if the registry has a metric of this name */
export function register(registry: Registry, { name, help, type, samples }: ReadMetric): void {
  new CLASSES[type]({ name, help, registers: [registry] }).samples = samples;
}
