import type { Field } from '../../server/src/protocol/declaration.ts';
import { RECORDS } from '../../server/src/protocol/declared.ts';
import { mapOfNumber } from '../../server/src/protocol/maps.ts';
import { TAGS } from '../../server/src/protocol/tuples.ts';

/** The fields of a stream line that the lab reads. */
interface Line {
  type: string;
  data: unknown;
}
function parse(text: string): Line | undefined {
  try {
    return JSON.parse(text) as Line;
  } catch {
    return undefined;
  }
}

/** The tuple of a line that a probe printed; empty for any other line. */
function tupleOf(line: Line | undefined): (number | string)[] {
  return line?.type === 'value' && Array.isArray(line.data) ? line.data : [];
}

function tagOf(line: Line | undefined): number | undefined {
  const [tag] = tupleOf(line);
  return tag === undefined ? undefined : Number(tag);
}

/**
 * A counter line: the map's number and the key as printed, because JSON.parse would round 64-bit numbers, and the
 * value.
 */
const COUNTER = new RegExp(`^\\{"type": ?"value", ?"data": ?\\[${TAGS.counter},(.*),(\\d+)\\]\\}$`);

function counterOf(text: string): { key: string; value: number } | undefined {
  const [, key, value] = COUNTER.exec(text) ?? [];
  return key === undefined ? undefined : { key: key.replaceAll(/["\s]/g, ''), value: Number(value) };
}

/**
 * Cuts the lines from `from` on into a stream that can be replayed alone. It begins with the header and the lines of
 * the running child, and its counters start at 0. Counter lines that repeat the previous value are left out.
 */
export function sliceStream(lines: readonly string[], from: number): string[] {
  const head = lines.slice(0, from).map((text) => ({ text, line: parse(text) }));
  const base = new Map<string, number>();
  let emitted = 0;
  for (const { text, line } of head) {
    const counter = counterOf(text);
    if (counter !== undefined) base.set(counter.key, counter.value);
    if (tagOf(line) === TAGS.heartbeat) emitted = Number(tupleOf(line)[2]);
  }
  const lastOf = (wanted: (line: Line) => boolean): string[] => {
    const found = head.findLast(({ line }) => line !== undefined && wanted(line));
    return found === undefined ? [] : [found.text];
  };
  const result = [
    ...lines.slice(0, 1),
    ...lastOf((line) => line.type === 'child' && (line.data as { state: string }).state === 'starting'),
    ...lastOf((line) => tagOf(line) === TAGS.ready),
    ...head.filter(({ line }) => line?.type === 'device').map(({ text }) => text),
  ];
  const written = new Map<string, number>();
  let printed = 0;
  for (const text of lines.slice(from)) {
    const line = parse(text);
    const [tag, t, count] = tupleOf(line);
    const counter = counterOf(text);
    if (counter !== undefined) {
      const { key, value } = counter;
      const grown = value - (base.get(key) ?? 0);
      if (grown === (written.get(key) ?? 0)) continue;
      written.set(key, grown);
      printed++;
      result.push(`{"type":"value","data":[${TAGS.counter},${key},${grown}]}`);
    } else if (tag === TAGS.heartbeat) {
      result.push(JSON.stringify({ type: 'value', data: [tag, t, Number(count) - emitted] }));
    } else if (tag === TAGS.read_end) {
      result.push(JSON.stringify({ type: 'value', data: [tag, t, printed] }));
    } else {
      result.push(text);
    }
  }
  return withoutIdleBeats(result);
}

/** Removes a heartbeat and its read_end if no line is between them and another heartbeat follows. */
function withoutIdleBeats(lines: readonly string[]): string[] {
  const tags = lines.map((text) => tagOf(parse(text)));
  const idle = (index: number): boolean =>
    tags[index] === TAGS.heartbeat && tags[index + 1] === TAGS.read_end && tags[index + 2] === TAGS.heartbeat;
  return lines.filter((_, index) => !idle(index) && !(index > 0 && idle(index - 1)));
}

/** The tags of events. */
const EVENTS: ReadonlySet<number> = new Set(RECORDS.filter(({ event }) => event).map(({ tag }) => tag));

/** The values of fields that older recordings do not have, by tag: they are the last fields of a record. */
const MISSING: ReadonlyMap<number, readonly (number | undefined)[]> = new Map(
  RECORDS.map(({ tag, fields }) => [tag, Object.values<Field>(fields ?? {}).map(({ missing }) => missing)]),
);

/** What differs in a field from run to run, by tag and position after the tag (probes/). */
const DIFFERS: ReadonlyMap<number, readonly (Differing | null)[]> = new Map(
  RECORDS.map(({ tag, fields }) => [
    tag,
    Object.entries<Field>(fields ?? {}).map(([name, { unit }]) => differing(name, unit)),
  ]),
);
type Differing = 'time' | 'pid' | 'inode';

function differing(name: string, unit: Field['unit']): Differing | null {
  if (unit === 'us' || unit === 'ns') return 'time';
  if (name === 'inode') return 'inode';
  return name === 'pid' || name.endsWith('_pid') ? 'pid' : null;
}

/** Whether a counter contains durations, which differ from run to run. */
function isDuration(key: string): boolean {
  return mapOfNumber(Number(key.slice(0, key.indexOf(','))))?.feeds?.type === 'histogram';
}

/** The record with the fields that an older program did not print. */
function complete(tag: number, tuple: readonly unknown[]): unknown[] {
  const missing = MISSING.get(tag) ?? [];
  return [...tuple, ...missing.slice(tuple.length - 1).filter((value) => value !== undefined)];
}

/** The events and counters of a stream without times, with pids and inodes numbered in order of appearance. */
function comparable(lines: readonly string[]): { events: string[]; counters: Map<string, number> } {
  const names = new Map<string, string>();
  const name = (kind: string, value: number): string | number => {
    if (value === 0) return 0;
    const key = `${kind}${value}`;
    if (!names.has(key)) names.set(key, `${kind}${names.size}`);
    return names.get(key) as string;
  };
  const events: string[] = [];
  const counters = new Map<string, number>();
  for (const text of lines) {
    const line = parse(text);
    const counter = counterOf(text);
    if (counter !== undefined && !isDuration(counter.key)) counters.set(counter.key, counter.value);
    const tag = tagOf(line);
    // Unmaps are compared by their counter only: during a revocation an importer may unmap at any time.
    if (tag === undefined || !EVENTS.has(tag) || tag === TAGS.unmap) continue;
    const event = complete(tag, tupleOf(line)).map((value, index) => {
      const what = DIFFERS.get(tag)?.[index - 1] ?? null;
      if (what === 'time') return what;
      return what === null ? value : name(what, Number(value));
    });
    events.push(JSON.stringify(event));
  }
  return { events, counters };
}

/**
 * Differences between two streams of the same scenario, one line each; empty if their events and counters are the same.
 */
export function compareStreams(recorded: readonly string[], fresh: readonly string[]): string[] {
  const [a, b] = [comparable(recorded), comparable(fresh)];
  const differences: string[] = [];
  for (let index = 0; index < Math.max(a.events.length, b.events.length); index++) {
    if (a.events[index] !== b.events[index]) {
      differences.push(
        `event ${index}: recorded ${a.events[index] ?? 'nothing'}, now ${b.events[index] ?? 'nothing'}`,
      );
    }
  }
  for (const key of new Set([...a.counters.keys(), ...b.counters.keys()])) {
    const [before, now] = [a.counters.get(key) ?? 0, b.counters.get(key) ?? 0];
    if (before !== now) differences.push(`counter ${key}: recorded ${before}, now ${now}`);
  }
  return differences;
}
