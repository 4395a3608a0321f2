import { type Static, Type } from 'typebox';
import { DURATION_BOUNDS, DURATION_BUCKETS } from '../stream/codes.ts';
import { type CounterName, HISTOGRAMS, type HistogramName, type Totals } from './counters.ts';

/** Samples that are kept; at the coarsest step they are the last half hour and a little more. */
const LIMIT = 240;
/** Seconds between samples: as fine as the reads at first, coarser as the room fills. */
const FINEST_STEP = 1;
const COARSEST_STEP = 8;

/** The counters whose rates are told, by the names that they have there. */
const RATES = {
  exports: 'exports',
  export_rejections: 'export_rejections',
  imports: 'imports',
  import_rejections: 'import_rejections',
  revocations: 'revocations',
} as const satisfies Record<string, CounterName>;

const Quantiles = Type.Object({
  p50: Type.Number(),
  p99: Type.Number({ description: 'seconds, as the p50; of the last bucket, its lower bound' }),
});
const QuantilesOrNull = Type.Union([Quantiles, Type.Null()], {
  description: 'null where there was no call between the two reads',
});

export const HistorySample = Type.Object({
  time: Type.String({ description: 'of the read of the counters' }),
  seconds: Type.Number({ description: 'since the read that it is compared with' }),
  rates: Type.Object(
    {
      exports: Type.Number(),
      export_rejections: Type.Number(),
      imports: Type.Number(),
      import_rejections: Type.Number(),
      revocations: Type.Number(),
    },
    { description: 'a second, over these seconds; imports and rejections are steps of imports' },
  ),
  durations: Type.Object({
    export_duration: QuantilesOrNull,
    revocation_duration: QuantilesOrNull,
    import_duration: QuantilesOrNull,
  }),
});
export type HistorySample = Static<typeof HistorySample>;

interface Sample {
  t: number;
  counters: Record<keyof typeof RATES, number>;
  buckets: Record<HistogramName, number[]>;
}

const RATE_NAMES = Object.keys(RATES) as (keyof typeof RATES)[];
const HISTOGRAM_NAMES = Object.keys(HISTOGRAMS) as HistogramName[];

/** The counters of the last half hour, as they were read. Samples are cumulative, so leaving some out falsifies no rate. */
export class History {
  #samples: Sample[] = [];
  #step = FINEST_STEP;

  /** A whole read of the counters has ended at `t`, microseconds since boot. */
  read(t: number, totals: Totals): void {
    const last = this.#samples.at(-1);
    // A read is never exactly a second after the one before.
    if (last !== undefined && t - last.t < (this.#step - 0.5) * 1e6) return;
    this.#samples.push({
      t,
      counters: record(RATE_NAMES, (name) => totals.counters[RATES[name]]),
      buckets: record(HISTOGRAM_NAMES, (name) => [...totals.buckets[name]]),
    });
    if (this.#samples.length <= LIMIT) return;
    if (this.#step < COARSEST_STEP) {
      this.#step *= 2;
      this.#samples = this.#samples.filter((_, index) => index % 2 === 0);
    } else this.#samples.shift();
  }

  /** What changed from each sample to the next, the oldest first. */
  samples(time: (micros: number) => string): HistorySample[] {
    return this.#samples.slice(1).map((sample, index) => {
      const before = this.#samples[index] as Sample;
      const seconds = (sample.t - before.t) / 1e6;
      return {
        time: time(sample.t),
        seconds,
        rates: record(RATE_NAMES, (name) => (sample.counters[name] - before.counters[name]) / seconds),
        durations: record(HISTOGRAM_NAMES, (name) => {
          const old = before.buckets[name];
          return quantilesOf(sample.buckets[name].map((count, bucket) => count - (old[bucket] ?? 0)));
        }),
      };
    });
  }
}

/** Where these shares of the calls end, as Prometheus reckons it: evenly spread within a bucket. */
function quantilesOf(buckets: readonly number[]): Static<typeof Quantiles> | null {
  const all = buckets.reduce((sum, count) => sum + count, 0);
  if (all === 0) return null;
  const at = (share: number): number => {
    let below = 0;
    for (const [bucket, count] of buckets.entries()) {
      if (below + count >= share * all) {
        const from = DURATION_BOUNDS[bucket - 1] ?? 0;
        const to = DURATION_BOUNDS[bucket] ?? from;
        return from + ((to - from) * (share * all - below)) / count;
      }
      below += count;
    }
    return DURATION_BOUNDS[DURATION_BUCKETS - 2] as number;
  };
  return { p50: at(0.5), p99: at(0.99) };
}

function record<K extends string, V>(keys: readonly K[], value: (key: K) => V): Record<K, V> {
  return Object.fromEntries(keys.map((key) => [key, value(key)])) as Record<K, V>;
}
