import { TAGS } from './codes.ts';
import { LARGEST_DEVICE, readInteger, readUnsigned } from './tuples.ts';

/** The parts of each map's key, in the order on the wire (docs/stream.md). An empty list means a map without a key. */
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

/** Map names. The index of a name is its number on the wire. */
export const MAP_NAMES = Object.keys(MAPS) as readonly MapName[];

/**
 * One key of one map with its value. The key stays text (validated numbers, joined by commas): it is parsed only when
 * it is new.
 */
export interface CounterRead {
  name: MapName;
  /** Empty for a map without a key. */
  key: string;
  value: number;
}

/** Maps whose values are sums of bytes or nanoseconds. The values of other maps are counts, which stay below 2^53. */
const SUMS: ReadonlySet<MapName> = new Set(['export_bytes', 'export_ns', 'revoke_ns', 'import_ns']);

/** The largest value of each part of a key that a probe can print; null for 64 bits of a name, signed or unsigned. */
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

/** A 64-bit number as bpftrace prints it: in quotes if JSON cannot represent it exactly. */
const DIGITS = '(?:0|-?[1-9]\\d{0,19})';
const NUMBER = `(?:${DIGITS}|"${DIGITS}")`;
const COUNTER = new RegExp(
  `^\\{"type": ?"value", ?"data": ?\\[${TAGS.counter}, ?(0|[1-9]\\d{0,3}), ?` +
    `(${NUMBER}|\\[${NUMBER}(?:, ?${NUMBER})*\\]), ?("?)(0|[1-9]\\d{0,19})\\3\\]\\}\\s*$`,
);

const INT64_MIN = -(2n ** 63n);
const UINT64_MAX = 2n ** 64n - 1n;

/**
 * Decodes `[TAG, map, key, value]` from the text of the line, because a JSON parser would round 64-bit numbers. A key
 * is up to seven 64-bit numbers: `[1, 2]`, or `1` for a single one. Returns null for a line of another shape, `bad_map`
 * for numbers that no probe prints.
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
  const texts = splitKey(key);
  if (texts.length !== parts.length) return 'bad_map';
  const isKey = parts.every((part, index) => isPart(texts[index] ?? '', LARGEST_PART[part]));
  return isKey ? { name, key, value } : 'bad_map';
}

function isPart(text: string, largest: number | null): boolean {
  if (largest !== null) return Number(text) >= 0 && Number(text) <= largest;
  // A number with fewer than 19 digits always fits into 64 bits.
  if (text.length < 19) return true;
  const number = BigInt(text);
  return number >= INT64_MIN && number <= UINT64_MAX;
}

/** Splits a validated key into its parts. They stay text, because a part may have 64 bits. */
export function splitKey(key: string): string[] {
  return key === '' ? [] : key.split(',');
}

/** The text in two little-endian 64-bit texts, up to the first NUL. Bytes that are not UTF-8 become U+FFFD. */
export function unpackName(word0: string, word1: string): string {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(word0)), 0);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(word1)), 8);
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? bytes.length : end);
}
