import { TAGS } from '../../server/src/stream/codes.ts';

/** One line of a stream, as far as the lab looks into it. */
interface Line {
  type: string;
  data: unknown;
}
type MapValue = number | Record<string, number>;

const parse = (text: string): Line | undefined => {
  try {
    return JSON.parse(text) as Line;
  } catch {
    return undefined;
  }
};

/** The tuple that a probe printed; empty for any other line. */
const tupleOf = (line: Line | undefined): (number | string)[] =>
  line?.type === 'value' && Array.isArray(line.data) ? line.data : [];

const tagOf = (line: Line | undefined): number | undefined => {
  const [tag] = tupleOf(line);
  return tag === undefined ? undefined : Number(tag);
};

const mapOf = (line: Line | undefined): [string, MapValue] | undefined =>
  line?.type === 'map'
    ? (Object.entries(line.data as Record<string, MapValue>)[0] as [string, MapValue])
    : undefined;

/**
 * The part of a stream from line `from` on as a stream of its own: the header and the running child's lines stand before
 * it, and its counters count from where the part begins. Readings that repeat the one before are left out.
 */
export const sliceStream = (lines: readonly string[], from: number): string[] => {
  const head = lines.slice(0, from).map((text) => ({ text, line: parse(text) }));
  const base = new Map<string, MapValue>();
  let emitted = 0;
  for (const { line } of head) {
    const map = mapOf(line);
    if (map !== undefined) base.set(map[0], map[1]);
    if (tagOf(line) === TAGS.heartbeat) emitted = Number(tupleOf(line)[2]);
  }
  const lastOf = (wanted: (line: Line) => boolean): string[] => {
    const found = head.findLast(({ line }) => line !== undefined && wanted(line));
    return found === undefined ? [] : [found.text];
  };
  const part = lines.slice(from);
  const result = [
    ...lines.slice(0, 1),
    ...lastOf((line) => line.type === 'child' && (line.data as { state: string }).state === 'starting'),
    ...lastOf((line) => tagOf(line) === TAGS.ready),
    ...head.filter(({ line }) => line?.type === 'device').map(({ text }) => text),
  ];
  const told = new Map<string, string>();
  for (const text of part) {
    const line = parse(text);
    const map = mapOf(line);
    if (map !== undefined) {
      const grown = subtract(map[1], base.get(map[0]));
      const key = JSON.stringify(grown);
      if (grown === undefined || told.get(map[0]) === key) continue;
      told.set(map[0], key);
      result.push(JSON.stringify({ type: 'map', data: { [map[0]]: grown } }));
    } else if (tagOf(line) === TAGS.heartbeat) {
      const [tag, t, count] = tupleOf(line);
      result.push(JSON.stringify({ type: 'value', data: [tag, t, Number(count) - emitted] }));
    } else {
      result.push(text);
    }
  }
  return withoutIdleHeartbeats(result);
};

const subtract = (now: MapValue, base: MapValue | undefined): MapValue | undefined => {
  if (typeof now === 'number') {
    const grown = now - (typeof base === 'number' ? base : 0);
    return grown === 0 ? undefined : grown;
  }
  const before = typeof base === 'object' ? base : {};
  const entries = Object.entries(now)
    .map(([key, value]): [string, number] => [key, value - (before[key] ?? 0)])
    .filter(([, value]) => value !== 0)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
};

/** Of heartbeats that follow each other directly only the last stays. */
const withoutIdleHeartbeats = (lines: readonly string[]): string[] => {
  const isHeartbeat = (text: string | undefined): boolean =>
    text !== undefined && tagOf(parse(text)) === TAGS.heartbeat;
  return lines.filter((text, index) => !(isHeartbeat(text) && isHeartbeat(lines[index + 1])));
};

/** Positions in each tuple that hold a time or a duration, a pid, or an inode (docs/stream.md). */
const TIMES: Readonly<Record<number, number[]>> = { 2: [2], 4: [2], 7: [2], 9: [2] };
const PIDS: Readonly<Record<number, number[]>> = {
  2: [3, 14],
  3: [2],
  4: [3],
  5: [2],
  6: [2],
  7: [3],
  8: [2, 9],
  9: [3, 9, 10],
  10: [2, 5],
};
const INODES: Readonly<Record<number, number[]>> = {
  2: [10],
  3: [3],
  4: [6],
  5: [4],
  6: [4],
  8: [5],
  9: [5],
  10: [4],
};

/** What a stream says apart from times, and with pids and inodes numbered in the order in which they come. */
const storyOf = (lines: readonly string[]): { events: string[]; counters: Record<string, MapValue> } => {
  const names = new Map<string, string>();
  const name = (kind: string, value: number): string | number => {
    if (value === 0) return 0;
    const key = `${kind}${value}`;
    if (!names.has(key)) names.set(key, `${kind}${names.size}`);
    return names.get(key) as string;
  };
  const events: string[] = [];
  const counters: Record<string, MapValue> = {};
  for (const text of lines) {
    const line = parse(text);
    const map = mapOf(line);
    if (map !== undefined && !/_(ns|bucket)$/.test(map[0])) counters[map[0]] = map[1];
    const tag = tagOf(line);
    if (tag === undefined || tag < TAGS.export) continue;
    const told = tupleOf(line).map((value, index) => {
      if (index === 1 || TIMES[tag]?.includes(index) === true) return 'time';
      if (PIDS[tag]?.includes(index) === true) return name('pid', Number(value));
      return INODES[tag]?.includes(index) === true ? name('inode', Number(value)) : value;
    });
    events.push(JSON.stringify(told));
  }
  return { events, counters };
};

/** What two streams of the same scenario tell differently; empty where they tell the same. */
export const compareStreams = (recorded: readonly string[], fresh: readonly string[]): string[] => {
  const [a, b] = [storyOf(recorded), storyOf(fresh)];
  const differences: string[] = [];
  for (let index = 0; index < Math.max(a.events.length, b.events.length); index++) {
    if (a.events[index] !== b.events[index]) {
      differences.push(
        `event ${index}: recorded ${a.events[index] ?? 'nothing'}, now ${b.events[index] ?? 'nothing'}`,
      );
    }
  }
  for (const map of new Set([...Object.keys(a.counters), ...Object.keys(b.counters)])) {
    const [before, now] = [canonical(a.counters[map]), canonical(b.counters[map])];
    if (before !== now) differences.push(`${map}: recorded ${before}, now ${now}`);
  }
  return differences;
};

const canonical = (value: MapValue | undefined): string =>
  typeof value === 'object'
    ? JSON.stringify(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : String(value ?? 0);
