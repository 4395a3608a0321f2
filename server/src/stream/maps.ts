import { TAGS } from './codes.ts';
import { readInteger } from './tuples.ts';

/** The parts of each map's key, in the order of the wire (docs/stream.md); an empty list is a map without a key. */
export const MAPS = {
  exports: ['device', 'privacy'],
  export_bytes: ['device', 'privacy'],
  export_failures: ['device', 'errno', 'reason'],
  export_ns: [],
  export_bucket: ['bucket'],
  releases: [],
  revocations: ['device', 'cause'],
  restores: ['device', 'cause'],
  revoke_ns: [],
  revoke_bucket: ['bucket'],
  imports: ['stage', 'name0', 'name1'],
  import_rejections: ['stage', 'name0', 'name1', 'errno', 'reason'],
  import_ns: ['stage', 'name0', 'name1'],
  import_bucket: ['stage', 'name0', 'name1', 'bucket'],
  detaches: ['name0', 'name1'],
  private_reads: ['reader'],
  private_read_failures: ['reader', 'errno', 'reason'],
  policy_violations: ['violation'],
  missed: [],
  emitted: [],
} as const satisfies Record<string, readonly string[]>;
export type MapName = keyof typeof MAPS;

/** The number of each map on the wire is its position here. */
export const MAP_NAMES = Object.keys(MAPS) as readonly MapName[];

/** One read of one map. Keys stay as printed (checked numbers, joined by commas): their meaning is needed once only. */
export interface MapRead {
  name: MapName;
  /** Pairs of key and value; the key of a map without one is ''. */
  entries: readonly (readonly [string, number])[];
}

const KEY = /^-?\d{1,20}(?:,-?\d{1,20})*$/;

function keyParts(key: string): number {
  let parts = 1;
  for (let at = key.indexOf(','); at !== -1; at = key.indexOf(',', at + 1)) parts += 1;
  return parts;
}

/** Decodes the `data` of a map line; null where the map is none of ours. */
export function decodeMap(data: unknown): MapRead | 'bad_map' | null {
  if (typeof data !== 'object' || data === null) return 'bad_map';
  const maps = Object.entries(data);
  const [first] = maps;
  if (first === undefined || maps.length > 1) return 'bad_map';
  const [printed, content] = first;
  const name = printed.slice(1);
  if (!printed.startsWith('@') || !Object.hasOwn(MAPS, name)) return null;
  const wanted = MAPS[name as MapName].length;
  if (wanted === 0) {
    const value = readInteger(content);
    if (value !== undefined) return { name: name as MapName, entries: [['', value]] };
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) return 'bad_map';
  const entries: [string, number][] = [];
  for (const [key, printedValue] of Object.entries(content)) {
    const value = readInteger(printedValue);
    if (value === undefined || !KEY.test(key) || keyParts(key) !== wanted) return 'bad_map';
    entries.push([key, value]);
  }
  return { name: name as MapName, entries };
}

const COUNTER = new RegExp(
  `^\\{"type": ?"value", ?"data": ?\\[${TAGS.counter},(\\d+),([^{}]*),"?(\\d+)"?\\]\\}\\s*$`,
);

/** True for a line that holds one key of one map. */
export function isCounterLine(line: string): boolean {
  return COUNTER.test(line);
}

/**
 * Decodes `[TAG, map, key, value]` from the line's own text: a key is up to five 64-bit numbers (`[1, 2]`, or bare where it is
 * one, in quotes where bpftrace thinks that JSON cannot hold it), which a JSON parser would round.
 */
export function decodeCounter(line: string): MapRead | 'bad_map' {
  const [, id = '', printedKey = '', printedValue] = COUNTER.exec(line) ?? [];
  const name = MAP_NAMES[Number(id)];
  const value = readInteger(printedValue);
  if (name === undefined || value === undefined) return 'bad_map';
  const key = printedKey.replaceAll(/["[\] ]/g, '');
  const wanted = MAPS[name].length;
  if (wanted === 0) return key === '0' ? { name, entries: [['', value]] } : 'bad_map';
  return KEY.test(key) && keyParts(key) === wanted ? { name, entries: [[key, value]] } : 'bad_map';
}

/** Splits a checked key into its parts; a part is exact up to 64 bits, so it stays text until its meaning is known. */
export function splitKey(key: string): string[] {
  return key === '' ? [] : key.split(',');
}

/** The text of two little-endian 64-bit words, up to the first NUL; bytes that are no UTF-8 become U+FFFD. */
export function unpackName(word0: string, word1: string): string {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(word0)), 0);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(word1)), 8);
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? bytes.length : end);
}
