import type { TracerModel } from '../model/model.ts';
import type { FamilySource, MetricFamily, MetricSample } from './exposition.ts';

/** A family of another part (HTTP, config reload), read at each scrape. The name is without the `vfio_dmabuf_` prefix. */
export interface ExtraFamily {
  name: string;
  help: string;
  type: 'counter' | 'gauge';
  samples: () => readonly MetricSample[];
}

export interface CatalogueOptions {
  model: TracerModel;
  /** Adds `process_*` and `nodejs_*`: for live serving only, a replay must print the same bytes each time. */
  processMetrics: boolean;
}

/** All metric families of one server, on a registry of its own. */
export class Catalogue implements FamilySource {
  constructor(_options: CatalogueOptions) {}

  /** Adds a family after those of the model. */
  add(_family: ExtraFamily): void {}

  async families(): Promise<readonly MetricFamily[]> {
    return [];
  }
}
