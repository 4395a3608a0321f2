import { TAGS } from './codes.ts';
import { LARGEST_DEVICE, readInteger, readUnsigned } from './tuples.ts';

/** The parts of each map's key, in the order of the wire (docs/stream.md); an empty list is a map without a key. */
export const MAPS = {
  exports: ['device', 'privacy'],
  export_bytes: ['device', 'privacy'],
  export_rejections: ['device', 'errno', 'reason'],
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
  private_read_rejections: ['reader', 'errno', 'reason'],
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

/** Maps that add up bytes or nanoseconds; the others count, and no count is beyond 2^53. */
const SUMS: ReadonlySet<MapName> = new Set(['export_bytes', 'export_ns', 'revoke_ns', 'import_ns']);

/** The most that each part of a key can be, as a number of our probes; null for 64 bits of a name, signed or not. */
const LARGEST_PART = {
  device: LARGEST_DEVICE,
  privacy: 0xffff,
  errno: 4095,
  reason: 0xffff,
  cause: 0xffff,
  stage: 0xffff,
  reader: 0xffff,
  violation: 0xffff,
  bucket: 63,
  name0: null,
  name1: null,
} as const satisfies Record<(typeof MAPS)[MapName][number], number | null>;

/** A 64-bit number as bpftrace prints it, in quotes where it thinks that JSON cannot hold it. */
const DIGITS = '(?:0|-?[1-9]\\d{0,19})';
const NUMBER = `(?:${DIGITS}|"${DIGITS}")`;
const COUNTER = new RegExp(
  `^\\{"type": ?"value", ?"data": ?\\[${TAGS.counter}, ?(0|[1-9]\\d{0,3}), ?` +
    `(${NUMBER}|\\[${NUMBER}(?:, ?${NUMBER})*\\]), ?("?)(0|[1-9]\\d{0,19})\\3\\]\\}\\s*$`,
);

const INT64_MIN = -(2n ** 63n);
const UINT64_MAX = 2n ** 64n - 1n;

/**
 * Decodes `[TAG, map, key, value]` from the line's own text: a key is up to seven 64-bit numbers (`[1, 2]`, or bare where it is
 * one), which a JSON parser would round. Null for a line that has not this shape, `bad_map` for numbers that no probe prints.
 */
export function decodeCounter(line: string): CounterRead | 'bad_map' | null {
  const match = COUNTER.exec(line);
  if (match === null) return null;
  const [, id, printedKey = '', , printedValue] = match;
  const name = MAP_NAMES[Number(id)];
  if (name === undefined) return 'bad_map';
  const value = SUMS.has(name) ? readUnsigned(printedValue) : readInteger(printedValue);
  if (value === undefined) return 'bad_map';
  const key = printedKey.replaceAll(/["[\] ]/g, '');
  const parts: readonly (keyof typeof LARGEST_PART)[] = MAPS[name];
  if (parts.length === 0) return key === '0' ? { name, key: '', value } : 'bad_map';
  const words = splitKey(key);
  if (words.length !== parts.length) return 'bad_map';
  const isKey = parts.every((part, index) => isPart(words[index] ?? '', LARGEST_PART[part]));
  return isKey ? { name, key, value } : 'bad_map';
}

function isPart(word: string, largest: number | null): boolean {
  if (largest !== null) return Number(word) >= 0 && Number(word) <= largest;
  // Below 19 digits every number has 64 bits or fewer.
  if (word.length < 19) return true;
  const number = BigInt(word);
  return number >= INT64_MIN && number <= UINT64_MAX;
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
