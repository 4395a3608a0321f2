import { errnoName } from '../contract/errno-names.ts';
import {
  CAUSES,
  DURATION_BUCKETS,
  PRIVACIES,
  READERS,
  REASONS,
  ROUTES,
  STAGES,
  VIOLATIONS,
} from '../protocol/codes.ts';
import {
  type CounterName,
  type DeclaredFamily,
  FAMILY_DECLARATIONS,
  type HistogramName,
  type MapName,
} from '../protocol/declared.ts';
import { type CounterRead, MAPS, splitKey, unpackName } from '../protocol/maps.ts';
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
export const COUNTERS = labelsOf<CounterName>('counter');
export const HISTOGRAMS = labelsOf<HistogramName>('histogram');

/**
 * A label set of a histogram has a series per bucket, so its limit of label sets is this fraction of a counter's limit.
 */
const HISTOGRAM_SHARE = 1 / 4;

/** The sum over all series of each family, including folded series and series of departed devices. */
export interface Totals {
  readonly counters: Readonly<Record<CounterName, number>>;
  readonly buckets: Readonly<Record<HistogramName, readonly number[]>>;
}

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
    const { feeds } = MAPS[name];
    if (feeds === null) return 0;
    let cells = this.#cells.get(name);
    if (cells === undefined) {
      cells = new Map();
      this.#cells.set(name, cells);
    }
    let cell = cells.get(key);
    if (cell === undefined) {
      if (this.#cellCount >= this.#cellsLimit) return null;
      this.#cellCount += 1;
      cell = { last: 0, add: this.#feed(feeds, name, key) };
      cells.set(key, cell);
      this.#noteDevice(name, key, cell);
    }
    // A kernel counter never decreases: a smaller value comes from a new child whose start was missed.
    const growth = value >= cell.last ? value - cell.last : value;
    if (growth > 0) {
      cell.add ??= this.#feed(feeds, name, key);
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
    const part = MAPS[name].key.indexOf('device');
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
    return {
      ...mapValues(this.#counters, ({ folded }) => folded),
      ...mapValues(this.#histograms, ({ folded }) => folded),
    };
  }

  /** Returns the function that adds the growth of a key to its series. */
  #feed(family: DeclaredFamily, name: MapName, key: string): (growth: number) => void {
    const parts = readKey(name, key);
    const labels = pick(family.labels, parts);
    if (family.type === 'counter') {
      const series = this.#counters[family.name].admit(labels);
      const { device } = series.labels;
      // A folded series does not belong to a device.
      if (device !== undefined && device === parts.device) {
        const known = this.#seriesOf.get(device);
        if (known === undefined) this.#seriesOf.set(device, new Map([[series, family.name]]));
        else known.set(series, family.name);
      }
      const { counters } = this.#totals;
      return (growth) => {
        series.value += growth;
        counters[family.name] += growth;
      };
    }
    const series = this.#histograms[family.name].admit(labels);
    if (MAPS[name].holds === 'sum') {
      return (growth) => {
        series.sumNs += growth;
      };
    }
    const bucket = Math.min(Number(parts.bucket), DURATION_BUCKETS - 1);
    const total = this.#totals.buckets[family.name];
    return (growth) => {
      series.buckets[bucket] = (series.buckets[bucket] ?? 0) + growth;
      total[bucket] = (total[bucket] ?? 0) + growth;
    };
  }
}

function labelsOf<Name extends string>(
  type: DeclaredFamily['type'],
): Readonly<Record<Name, readonly string[]>> {
  const families = FAMILY_DECLARATIONS.filter((family) => family.type === type);
  return Object.fromEntries(families.map(({ name, labels }) => [name, labels])) as Record<
    Name,
    readonly string[]
  >;
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
  MAPS[map].key.forEach((part, index) => {
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
      case 'route':
        parts.route = codeName(ROUTES, Number(text));
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
