import { constants } from 'node:os';
import { gzipSync } from 'node:zlib';
import { compose, type ProbeFacts, wantedBy } from '../server/src/bpftrace/compiler/compose.ts';
import { loadFragments } from '../server/src/bpftrace/compiler/fragment.ts';
import { loadConfig } from '../server/src/config/load.ts';
import { probesDirectory } from '../server/src/lib/probes-directory.ts';
import { Catalogue } from '../server/src/metrics/catalogue.ts';
import { renderMetrics } from '../server/src/metrics/exposition.ts';
import { REASONS, type Reason, STAGES, type Stage } from '../server/src/protocol/codes.ts';
import type { MapName } from '../server/src/protocol/declared.ts';
import { decodeLine } from '../server/src/protocol/decode.ts';
import { REASON_ENTRIES } from '../server/src/reference/catalogue.ts';
import type { Entry } from '../server/src/reference/entry.ts';
import { TracerModel } from '../server/src/tracer/tracer.ts';
import {
  counterRead,
  exported,
  HEADER,
  imported,
  packName,
  ready,
  starting,
} from '../server/test/fixtures/stream-lines.ts';
import { markdownTable } from './markdown-table.ts';

const DEVICES = 64;
/** One importer of each kind, and the stages of its import calls. Together they cover all stages. */
const IMPORTERS: Readonly<Record<string, readonly Stage[]>> = {
  kvm: ['attach', 'bind'],
  iommu: ['attach', 'pin', 'iommufd'],
  mlx5_core: ['attach', 'pin', 'map', 'rdma'],
  amdgpu: ['attach', 'pin', 'map', 'prime'],
  vivid: ['attach', 'map', 'vmap', 'videobuf2'],
  bnxt_en: ['attach', 'map', 'devmem'],
};
const config = loadConfig({ environment: {}, flags: [], file: undefined });
const DEFAULTS = { keys: config['bpftrace.map-keys'], series: config['metrics.max-series'] };
const SECOND = 1_000_000;
const SHARED = 1;
const PRIVATE = 2;

/** A rejection that the kernel can return, from the catalogue of reasons. */
interface Rejection {
  stage: Stage;
  reason: Reason;
  errno: number;
}

/** Numbers of the errnos in the catalogue. ERESTARTSYS exists only in the kernel. */
const ERRNOS: Readonly<Record<string, number>> = { ERESTARTSYS: 512, ...constants.errno };
/** Used if the catalogue names no errno. */
const ANY_ERRNO = 5;

/** Each stage, reason and errno that the catalogue has for imports. */
function rejections(): Rejection[] {
  const found = new Map<string, Rejection>();
  for (const [reason, { rules }] of Object.entries(REASON_ENTRIES) as [Reason, Entry][]) {
    for (const { stage, errno } of rules) {
      if (!(STAGES as readonly string[]).includes(stage)) continue;
      const rejection = { stage: stage as Stage, reason, errno: errnoOf(errno) };
      found.set(Object.values(rejection).join(), rejection);
    }
  }
  return [...found.values()];
}

function errnoOf(name: string | null): number {
  if (name === null) return ANY_ERRNO;
  const errno = ERRNOS[name];
  if (errno === undefined) throw new Error(`the catalogue of reasons has an unknown errno: ${name}`);
  return errno;
}

interface Host {
  title: string;
  privacies: readonly number[];
  /** Maximum number of kinds of rejection for each importer on each device. */
  kinds: number;
  /** Number of importers of each device. */
  importers: number;
}

/** The keys of the kernel maps and the stream lines of the buffers on such a host. */
function contentsOf({ privacies, kinds, importers }: Host) {
  const maps: Partial<Record<MapName, Record<string, number>>> = {};
  const count = (map: MapName, ...key: (string | number)[]): void => {
    const keys = maps[map] ?? {};
    maps[map] = keys;
    keys[key.join()] = 1000;
  };
  const all = rejections();
  const events: string[] = [];
  for (let index = 0; index < DEVICES; index += 1) {
    const device = (index + 1) << 8;
    for (const privacy of privacies) {
      count('exports', device, privacy);
      count('export_bytes', device, privacy);
      count('revocations', device, 2);
      const inode = 1 + index * PRIVATE + privacy;
      events.push(exported({ t: 2 * SECOND, inode, device, privacy }));
      for (const [name, stages] of Object.entries(IMPORTERS).slice(0, importers)) {
        const importer = packName(name);
        for (const stage of stages) {
          count('imports', STAGES.indexOf(stage), device, privacy, importer);
          for (const bucket of [2, 3]) count('import_bucket', STAGES.indexOf(stage), importer, bucket);
        }
        const occurring = all.filter(({ stage }) => stages.includes(stage)).slice(0, kinds);
        for (const { stage, reason, errno } of occurring)
          count(
            'import_rejections',
            STAGES.indexOf(stage),
            device,
            privacy,
            importer,
            errno,
            REASONS.indexOf(reason),
          );
        count('detaches', device, privacy, importer);
        count('unmaps', device, privacy, importer);
        events.push(imported({ t: 2 * SECOND, inode, device, stage: 1, importer: name }));
      }
    }
  }
  return { maps, events };
}

export interface Measured {
  title: string;
  /** Lines of one counter read; there is one each second. */
  lines: number;
  /** Keys of the two fullest maps. */
  imports: number;
  rejections: number;
  /** Series of /metrics, and series that are folded at the default limit. */
  series: number;
  folded: number;
  bytes: number;
  gzipped: number;
  /** Milliseconds for one counter read, and for one scrape without compression. */
  readMs: number;
  scrapeMs: number;
}

async function measure(host: Host): Promise<Measured> {
  const { maps, events } = contentsOf(host);
  const model = new TracerModel({
    version: '0.0.0',
    source: { kind: 'replay', name: 'capacity' },
    seriesLimit: DEFAULTS.series,
  });
  const read = counterRead(3 * SECOND, maps);
  for (const line of [HEADER, starting(SECOND, 1), ready(SECOND), ...events, ...read])
    model.apply(decodeLine(line));
  const catalogue = new Catalogue({ model, processMetrics: false });
  let [readMs, scrapeMs] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  let text = '';
  for (let round = 0; round < 5; round += 1) {
    const begin = performance.now();
    for (const line of read) model.apply(decodeLine(line));
    const between = performance.now();
    text = await renderMetrics(catalogue, 'text');
    readMs = Math.min(readMs, between - begin);
    scrapeMs = Math.min(scrapeMs, performance.now() - between);
  }
  const size = (map: MapName): number => Object.keys(maps[map] ?? {}).length;
  const folded = Object.values(model.counters.folded()).reduce((sum, one) => sum + one, 0);
  return {
    title: host.title,
    lines: read.length,
    imports: size('imports'),
    rejections: size('import_rejections'),
    series: text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length,
    folded,
    bytes: text.length,
    gzipped: gzipSync(text).length,
    readMs,
    scrapeMs,
  };
}

/** Measures the hosts of the table: typical ones, one with private and shared buffers, and one with every rejection. */
export async function measureHosts(): Promise<Measured[]> {
  const many = Number.POSITIVE_INFINITY;
  const hosts: readonly Host[] = [
    { title: 'each device: 2 importers, 1 kind of rejection', privacies: [SHARED], kinds: 1, importers: 2 },
    {
      title: 'each device: 6 importers, 2 kinds of rejection each',
      privacies: [SHARED],
      kinds: 2,
      importers: 6,
    },
    {
      title: 'the same, each device with private and shared buffers',
      privacies: [SHARED, PRIVATE],
      kinds: 2,
      importers: 6,
    },
    {
      title: 'each device: 6 importers, every rejection that the kernel has',
      privacies: [SHARED],
      kinds: many,
      importers: 6,
    },
  ];
  const measured: Measured[] = [];
  for (const host of hosts) measured.push(await measure(host));
  return measured;
}

/** A map of the bpftrace program: 64-bit numbers in its key and in a value, and whether it has one value per CPU. */
export interface KernelMap {
  name: string;
  parts: number;
  numbers: number;
  perCpu: boolean;
}

/** The maps with keys in the bpftrace program for a host that has all traced functions. */
export async function kernelMaps(): Promise<KernelMap[]> {
  const fragments = await loadFragments(probesDirectory());
  const wanted = wantedBy(fragments);
  const facts: ProbeFacts = {
    functions: Object.fromEntries(wanted.functions.map((name) => [name, 'vfio_pci_core'])),
    untraceable: [],
    members: Object.fromEntries(wanted.members.map((path) => [path, 0])),
    pageBytes: 4096,
    modules: [],
    bpftraceVersion: [0, 27, 1],
  };
  const { program } = compose(facts, fragments);
  const maps = new Map<string, KernelMap>();
  for (const [, name = '', key = '', value = ''] of program.matchAll(/@(\w+)\[([^\]]*)\] = ([^;]*)/g)) {
    const perCpu = /^(?:count|sum)\(/.test(value);
    maps.set(name, { name, parts: key.split(',').length, numbers: perCpu ? 1 : numbersIn(value), perCpu });
  }
  return [...maps.values()];
}

/** How many numbers a value has: `(nsecs, (uint64)arg0)` has two. */
function numbersIn(value: string): number {
  let depth = 0;
  let numbers = 1;
  for (const character of value) {
    if (character === '(') depth++;
    if (character === ')') depth--;
    if (character === ',' && depth === 1) numbers++;
  }
  return numbers;
}

/**
 * Bytes that the kernel allocates for a map when it is created: it allocates all keys at once (`htab_map_alloc` in
 * kernel/bpf/hashtab.c). There is a bucket of 16 bytes for each key, and their number is rounded up to a power of two.
 * Each key needs a `struct htab_elem` of 48 bytes, the key, and the value or a pointer to its values per CPU. A map
 * without values per CPU has a spare element per CPU. The fixed part of about 900 bytes is not included.
 */
export function bytesOfMap({ parts, numbers, perCpu }: KernelMap, keys: number, cpus: number): number {
  const element = 48 + 8 * parts + 8 * numbers;
  const buckets = 16 * 2 ** Math.ceil(Math.log2(keys));
  return buckets + (perCpu ? keys * (element + 8 * cpus) : (keys + cpus) * element);
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}
function kilobytes(bytes: number): string {
  return `${number(Math.round(bytes / 1000))} kB`;
}
function megabytes(bytes: number): string {
  return `${number(Math.round(bytes / 1e6))} MB`;
}
/** The table of series in docs/accounting.md. */
export function seriesTable(measured: readonly Measured[]): string {
  return markdownTable([
    [
      `${DEVICES} devices`,
      'lines of a read',
      'keys of imports',
      'keys of rejections',
      'series',
      'folded',
      '`/metrics`',
    ],
    ...measured.map(({ title, lines, imports, rejections, series, folded, bytes }) => [
      title,
      number(lines),
      number(imports),
      number(rejections),
      number(series),
      number(folded),
      kilobytes(bytes),
    ]),
  ]);
}

const CPUS = [2, 64, 256] as const;
const KEYS = [DEFAULTS.keys, 2 * DEFAULTS.keys, 4 * DEFAULTS.keys] as const;

/** The table of kernel memory in docs/accounting.md. */
export function memoryTable(maps: readonly KernelMap[]): string {
  const largest = maps.find(({ name }) => name === 'import_rejections');
  if (largest === undefined) throw new Error('the program has no map of rejections');
  return markdownTable([
    ['`--bpftrace.map-keys`', ...CPUS.map((cpus) => `all maps, ${cpus} CPUs`), 'map of rejections, 64 CPUs'],
    ...KEYS.map((keys) => [
      number(keys),
      ...CPUS.map((cpus) => megabytes(maps.reduce((sum, map) => sum + bytesOfMap(map, keys, cpus), 0))),
      kilobytes(bytesOfMap(largest, keys, 64)),
    ]),
  ]);
}
