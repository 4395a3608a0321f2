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
  imports: ['stage', 'device', 'privacy', 'name0', 'name1'],
  import_rejections: ['stage', 'device', 'privacy', 'name0', 'name1', 'errno', 'reason'],
  import_ns: ['stage', 'name0', 'name1'],
  import_bucket: ['stage', 'name0', 'name1', 'bucket'],
  detaches: ['device', 'privacy', 'name0', 'name1'],
  private_reads: ['reader'],
  private_read_failures: ['reader', 'errno', 'reason'],
  policy_violations: ['violation'],
  missed: [],
  emitted: [],
  unmaps: ['device', 'privacy', 'name0', 'name1'],
} as const satisfies Record<string, readonly string[]>;
export type MapName = keyof typeof MAPS;

/** The number of each map on the wire is its position here. */
export const MAP_NAMES = Object.keys(MAPS) as readonly MapName[];

/** One key of one map, as it was read. The key stays as printed (checked numbers, joined by commas): its meaning is needed once only. */
export interface CounterRead {
  name: MapName;
  /** Empty for a map without a key. */
  key: string;
  value: number;
}

/** A 64-bit number, in quotes where bpftrace thinks that JSON cannot hold it. */
const NUMBER = '(?:-?\\d{1,20}|"-?\\d{1,20}")';
const COUNTER = new RegExp(
  `^\\{"type": ?"value", ?"data": ?\\[${TAGS.counter}, ?(\\d{1,4}), ?` +
    `(${NUMBER}|\\[${NUMBER}(?:, ?${NUMBER})*\\]), ?("?)(\\d{1,20})\\3\\]\\}\\s*$`,
);

/**
 * Decodes `[TAG, map, key, value]` from the line's own text: a key is up to seven 64-bit numbers (`[1, 2]`, or bare where it is
 * one), which a JSON parser would round. Null for a line that has not this shape.
 */
export function decodeCounter(line: string): CounterRead | 'bad_map' | null {
  const match = COUNTER.exec(line);
  if (match === null) return null;
  const [, id, printedKey = '', , printedValue] = match;
  const name = MAP_NAMES[Number(id)];
  const value = readInteger(printedValue);
  if (name === undefined || value === undefined) return 'bad_map';
  const key = printedKey.replaceAll(/["[\] ]/g, '');
  const parts = MAPS[name].length;
  if (parts === 0) return key === '0' ? { name, key: '', value } : 'bad_map';
  return splitKey(key).length === parts ? { name, key, value } : 'bad_map';
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
