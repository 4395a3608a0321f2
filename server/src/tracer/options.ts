import { INCIDENT_LIMITS, type IncidentLimits } from '../incidents/engine.ts';

export interface ModelOptions {
  /** Version of this program, for the status and build_info. */
  version: string;
  source: { kind: 'live' | 'replay'; name: string };
  /** The most released buffers that are kept; default 1000. */
  historyLimit?: number;
  /** The most label sets of a metric family. Further ones are folded into `other`; default 2000. */
  seriesLimit?: number;
  /** Seconds, in stream time, for which a device or VM stays in the metrics after it has left; default 900. */
  keepDeparted?: number;
  /** How many incidents are kept. */
  incidents?: Partial<IncidentLimits>;
}

/** The options with all defaults. */
export type CompleteOptions = Readonly<Required<ModelOptions>> & { readonly incidents: IncidentLimits };

export function withDefaults(options: ModelOptions): CompleteOptions {
  const { kind, name } = options.source;
  return {
    historyLimit: 1000,
    seriesLimit: 2000,
    keepDeparted: 900,
    ...options,
    incidents: { ...INCIDENT_LIMITS, ...options.incidents },
    source: { kind, name },
  };
}
