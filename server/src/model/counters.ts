import { errnoName } from '../contract/errno-names.ts';
import {
  CAUSES,
  DURATION_BUCKETS,
  PRIVACIES,
  READERS,
  REASONS,
  STAGES,
  VIOLATIONS,
} from '../protocol/codes.ts';
import { type CounterRead, MAPS, type MapName, splitKey, unpackName } from '../protocol/maps.ts';
import { codeName, deviceAddress, importerName } from './naming.ts';
import { type Labels, SeriesSet } from './series-set.ts';

/** One series of a counter. It is cumulative over all bpftrace children and never decreases. */
export interface CounterSeries {
  readonly labels: Labels;
  value: number;
}

/** One series of a histogram. `buckets[b]` counts the durations in bucket b only (not cumulative). */
export interface HistogramSeries {
  readonly labels: Labels;
  readonly buckets: number[];
  sumNs: number;
}

/** The counter families that come from the kernel's maps, and their labels. */
export const COUNTERS = {
  exports: ['device', 'privacy'],
  exported_bytes: ['device', 'privacy'],
  export_rejections: ['device', 'reason', 'errno'],
  releases: [],
  revocations: ['device', 'cause'],
  restorations: ['device', 'cause'],
  imports: ['device', 'privacy', 'importer', 'stage'],
  import_rejections: ['device', 'privacy', 'importer', 'stage', 'reason', 'errno'],
  detaches: ['device', 'privacy', 'importer'],
  unmaps: ['device', 'privacy', 'importer'],
  private_data_reads: ['importer'],
  private_data_read_rejections: ['importer', 'reason'],
  policy_violations: ['kind'],
  missed_returns: [],
} as const satisfies Record<string, readonly string[]>;
export type CounterName = keyof typeof COUNTERS;

export const HISTOGRAMS = {
  export_duration: [],
  revocation_duration: [],
  import_duration: ['importer', 'stage'],
} as const satisfies Record<string, readonly string[]>;
export type HistogramName = keyof typeof HISTOGRAMS;

/**
 * A label set of a histogram has a series per bucket, so its limit of label sets is this fraction of a counter's limit.
 */
const HISTOGRAM_SHARE = 1 / 4;

/** The sum over all series of each family, including folded series and series of departed devices. */
export interface Totals {
  readonly counters: Readonly<Record<CounterName, number>>;
  readonly buckets: Readonly<Record<HistogramName, readonly number[]>>;
}

type Route = { counter: CounterName } | { histogram: HistogramName; part: 'sum' | 'bucket' } | null;

/** The family that each map feeds. `emitted` feeds none: the heartbeat has it too, in order with the events. */
const ROUTES: Record<MapName, Route> = {
  exports: { counter: 'exports' },
  export_bytes: { counter: 'exported_bytes' },
  export_rejections: { counter: 'export_rejections' },
  export_ns: { histogram: 'export_duration', part: 'sum' },
  export_bucket: { histogram: 'export_duration', part: 'bucket' },
  releases: { counter: 'releases' },
  revocations: { counter: 'revocations' },
  restores: { counter: 'restorations' },
  revoke_ns: { histogram: 'revocation_duration', part: 'sum' },
  revoke_bucket: { histogram: 'revocation_duration', part: 'bucket' },
  imports: { counter: 'imports' },
  import_rejections: { counter: 'import_rejections' },
  import_ns: { histogram: 'import_duration', part: 'sum' },
  import_bucket: { histogram: 'import_duration', part: 'bucket' },
  detaches: { counter: 'detaches' },
  unmaps: { counter: 'unmaps' },
  private_reads: { counter: 'private_data_reads' },
  private_read_rejections: { counter: 'private_data_read_rejections' },
  policy_violations: { counter: 'policy_violations' },
  missed: { counter: 'missed_returns' },
  emitted: null,
};

/** One key of one map of the running child: its last value, and the series that it feeds. */
interface Cell {
  last: number;
  /** Null if the series is parked because its device has left. Growth brings it back. */
  add: ((growth: number) => void) | null;
}

/** The most keys kept over all maps of one child. It equals the largest allowed size of one map (bpftrace.map-keys). */
const CELLS_LIMIT = 1_048_576;

/**
 * All counters and histograms. Each read adds the growth since the last one, so a new child that starts at zero adds to
 * them.
 */
export class CounterStore {
  readonly #totals = {
    counters: mapValues(COUNTERS, () => 0),
    buckets: mapValues(HISTOGRAMS, () => new Array<number>(DURATION_BUCKETS).fill(0)),
  };
  readonly #counters: Record<CounterName, SeriesSet<CounterSeries>>;
  readonly #histograms: Record<HistogramName, SeriesSet<HistogramSeries>>;
  readonly #cells = new Map<MapName, Map<string, Cell>>();
  #cellCount = 0;
  readonly #cellsLimit: number;
  /** Cells and series by device, so that parking a device does not iterate over all of them. */
  readonly #cellsOf = new Map<string, Cell[]>();
  readonly #seriesOf = new Map<string, Map<CounterSeries, CounterName>>();

  constructor(limit: number, cellsLimit = CELLS_LIMIT) {
    this.#cellsLimit = cellsLimit;
    const counter = () => new SeriesSet<CounterSeries>(limit, (labels) => ({ labels, value: 0 }));
    const histogram = () =>
      new SeriesSet<HistogramSeries>(Math.ceil(limit * HISTOGRAM_SHARE), (labels) => ({
        labels,
        buckets: new Array<number>(DURATION_BUCKETS).fill(0),
        sumNs: 0,
      }));
    this.#counters = mapValues(COUNTERS, counter);
    this.#histograms = mapValues(HISTOGRAMS, histogram);
  }

  get totals(): Totals {
    return this.#totals;
  }

  /** A new child was started. Its maps are empty. */
  newChild(): void {
    this.#cells.clear();
    this.#cellsOf.clear();
    this.#cellCount = 0;
    for (const set of [...Object.values(this.#counters), ...Object.values(this.#histograms)])
      set.clearFolded();
  }

  /** Returns the growth of the counter since its last read; null if there are more keys than the limit. */
  read({ name, key, value }: CounterRead): number | null {
    const route = ROUTES[name];
    if (route === null) return 0;
    let cells = this.#cells.get(name);
    if (cells === undefined) {
      cells = new Map();
      this.#cells.set(name, cells);
    }
    let cell = cells.get(key);
    if (cell === undefined) {
      if (this.#cellCount >= this.#cellsLimit) return null;
      this.#cellCount += 1;
      cell = { last: 0, add: this.#feed(route, name, key) };
      cells.set(key, cell);
      this.#noteDevice(name, key, cell);
    }
    // A kernel counter never decreases: a smaller value comes from a new child whose start was missed.
    const growth = value >= cell.last ? value - cell.last : value;
    if (growth > 0) {
      cell.add ??= this.#feed(route, name, key);
      cell.add(growth);
    }
    cell.last = value;
    return growth;
  }

  /**
   * Hides the series of devices that have left. The kernel keeps counting, so a series that comes back continues from
   * its last value.
   */
  park(devices: ReadonlySet<string>): void {
    for (const device of devices) {
      for (const cell of this.#cellsOf.get(device) ?? []) cell.add = null;
      for (const [{ labels }, name] of this.#seriesOf.get(device) ?? []) this.#counters[name].park(labels);
      this.#seriesOf.delete(device);
    }
  }

  #noteDevice(name: MapName, key: string, cell: Cell): void {
    const part = (MAPS[name] as readonly string[]).indexOf('device');
    if (part < 0) return;
    const device = deviceAddress(Number(splitKey(key)[part]));
    const known = this.#cellsOf.get(device);
    if (known === undefined) this.#cellsOf.set(device, [cell]);
    else known.push(cell);
  }

  counter(name: CounterName): readonly CounterSeries[] {
    return this.#counters[name].all();
  }

  histogram(name: HistogramName): readonly HistogramSeries[] {
    return this.#histograms[name].all();
  }

  /** Number of label sets that each family has folded into `other`. */
  folded(): Record<CounterName | HistogramName, number> {
    const count = (set: { folded: number }) => set.folded;
    return {
      ...mapValues(this.#counters, (_, name) => count(this.#counters[name])),
      ...mapValues(this.#histograms, (_, name) => count(this.#histograms[name])),
    };
  }

  /** Returns the function that adds the growth of a key to its series. */
  #feed(route: NonNullable<Route>, name: MapName, key: string): (growth: number) => void {
    const parts = readKey(name, key);
    if ('counter' in route) {
      const series = this.#counters[route.counter].admit(pick(COUNTERS[route.counter], parts));
      const { device } = series.labels;
      // A folded series does not belong to a device.
      if (device !== undefined && device === parts.device) {
        const known = this.#seriesOf.get(device);
        if (known === undefined) this.#seriesOf.set(device, new Map([[series, route.counter]]));
        else known.set(series, route.counter);
      }
      const { counters } = this.#totals;
      return (growth) => {
        series.value += growth;
        counters[route.counter] += growth;
      };
    }
    const series = this.#histograms[route.histogram].admit(pick(HISTOGRAMS[route.histogram], parts));
    if (route.part === 'sum') {
      return (growth) => {
        series.sumNs += growth;
      };
    }
    const bucket = Math.min(Number(parts.bucket), DURATION_BUCKETS - 1);
    const total = this.#totals.buckets[route.histogram];
    return (growth) => {
      series.buckets[bucket] = (series.buckets[bucket] ?? 0) + growth;
      total[bucket] = (total[bucket] ?? 0) + growth;
    };
  }
}

function mapValues<K extends string, A, B>(
  record: Record<K, A>,
  change: (value: A, key: K) => B,
): Record<K, B> {
  const entries = Object.entries(record) as [K, A][];
  return Object.fromEntries(entries.map(([key, value]) => [key, change(value, key)])) as Record<K, B>;
}

function pick(names: readonly string[], parts: Labels): Labels {
  return Object.fromEntries(names.map((name) => [name, parts[name] ?? '']));
}

/** The parts of a key by label name. The importer's name is joined from its two parts. */
function readKey(map: MapName, key: string): Labels {
  const parts: Record<string, string> = {};
  const texts = splitKey(key);
  MAPS[map].forEach((part, index) => {
    const text = texts[index] ?? '0';
    switch (part) {
      case 'device':
        parts.device = deviceAddress(Number(text));
        break;
      case 'privacy':
        parts.privacy = codeName(PRIVACIES, Number(text));
        break;
      case 'reason':
        parts.reason = codeName(REASONS, Number(text));
        break;
      case 'cause':
        parts.cause = codeName(CAUSES, Number(text));
        break;
      case 'stage':
        parts.stage = codeName(STAGES, Number(text));
        break;
      case 'reader':
        parts.importer = codeName(READERS, Number(text));
        break;
      case 'violation':
        parts.kind = codeName(VIOLATIONS, Number(text));
        break;
      case 'errno':
        parts.errno = errnoName(Number(text));
        break;
      case 'bucket':
        parts.bucket = text;
        break;
      case 'name0':
        parts.importer = importerName(unpackName(text, texts[index + 1] ?? '0'));
        break;
      case 'name1':
        break;
      default:
        part satisfies never;
    }
  });
  return parts;
}
