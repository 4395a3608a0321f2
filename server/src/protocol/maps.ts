import type { KeyPart } from './declaration.ts';
import { type DeclaredMap, MAP_DECLARATIONS, type MapName } from './declared.ts';
import { LARGEST_DEVICE, readInteger, readUnsigned } from './readers.ts';
import { TAGS } from './tuples.ts';

/** Declarations by the name of the map. */
export const MAPS = Object.fromEntries(MAP_DECLARATIONS.map((map) => [map.name, map])) as Readonly<
  Record<MapName, DeclaredMap>
>;

const BY_NUMBER: (DeclaredMap | undefined)[] = [];
for (const map of MAP_DECLARATIONS) BY_NUMBER[map.number] = map;

/** The map with this number on the wire. */
export function mapOfNumber(number: number): DeclaredMap | undefined {
  return BY_NUMBER[number];
}

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
  route: 0xffff,
  bucket: 63,
  name0: null,
  name1: null,
} as const satisfies Record<KeyPart, number | null>;

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
  const map = mapOfNumber(Number(id));
  if (map === undefined) return 'bad_map';
  const { name } = map;
  const value = map.holds === 'sum' ? readUnsigned(printedValue) : readInteger(printedValue);
  if (value === undefined) return 'bad_map';
  const key = printedKey.replaceAll(/["[\] ]/g, '');
  if (map.key.length === 0) return key === '0' ? { name, key: '', value } : 'bad_map';
  const texts = splitKey(key);
  if (texts.length !== map.key.length) return 'bad_map';
  const isKey = map.key.every((part, index) => isPart(texts[index] ?? '', LARGEST_PART[part]));
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
