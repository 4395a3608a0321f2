import type { Static } from 'typebox';
import type { HistorySample, Quantiles } from '../contract/history.ts';
import { DURATION_BOUNDS, DURATION_BUCKETS } from '../protocol/codes.ts';
import type { CounterName, HistogramName } from '../protocol/declared.ts';
import type { Totals } from './counters.ts';

/** The most samples kept. At the coarsest step they cover a little more than half an hour. */
const LIMIT = 240;
/** Seconds between samples: at first the interval of counter reads, then longer each time the limit is reached. */
const FINEST_STEP = 1;
const COARSEST_STEP = 8;

/** The counters whose rates are shown, by their names in HistorySample. */
const RATES = {
  exports: 'exports',
  export_rejections: 'export_rejections',
  imports: 'imports',
  import_rejections: 'import_rejections',
  revocations: 'revocations',
} as const satisfies Record<string, CounterName>;

/** The histograms whose quantiles are shown. */
const SHOWN = [
  'export_duration',
  'revocation_duration',
  'import_duration',
] as const satisfies readonly HistogramName[];

interface Sample {
  t: number;
  counters: Record<keyof typeof RATES, number>;
  buckets: Record<(typeof SHOWN)[number], number[]>;
}

const RATE_NAMES = Object.keys(RATES) as (keyof typeof RATES)[];

/** The counters of the last half hour. Samples are cumulative, so dropping some does not falsify a rate. */
export class History {
  #samples: Sample[] = [];
  #step = FINEST_STEP;

  /** Call this at the end of each complete counter read; `t` is microseconds since boot. */
  read(t: number, totals: Totals): void {
    const last = this.#samples.at(-1);
    // Half a second of tolerance: reads are not exactly one second apart.
    if (last !== undefined && t - last.t < (this.#step - 0.5) * 1e6) return;
    this.#samples.push({
      t,
      counters: record(RATE_NAMES, (name) => totals.counters[RATES[name]]),
      buckets: record(SHOWN, (name) => [...totals.buckets[name]]),
    });
    if (this.#samples.length <= LIMIT) return;
    if (this.#step < COARSEST_STEP) {
      this.#step *= 2;
      this.#samples = this.#samples.filter((_, index) => index % 2 === 0);
    } else this.#samples.shift();
  }

  /** The change from each sample to the next, oldest first. */
  samples(time: (micros: number) => string): HistorySample[] {
    return this.#samples.slice(1).map((sample, index) => {
      const before = this.#samples[index] as Sample;
      const seconds = (sample.t - before.t) / 1e6;
      return {
        time: time(sample.t),
        seconds,
        rates: record(RATE_NAMES, (name) => (sample.counters[name] - before.counters[name]) / seconds),
        durations: record(SHOWN, (name) => {
          const old = before.buckets[name];
          return quantilesOf(sample.buckets[name].map((count, bucket) => count - (old[bucket] ?? 0)));
        }),
      };
    });
  }
}

/** Quantiles, computed like histogram_quantile of Prometheus: durations are evenly spread within a bucket. */
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
