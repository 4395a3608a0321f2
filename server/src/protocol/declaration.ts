import type { Violation } from './codes.ts';
import type { Reader } from './readers.ts';

/** What a fragment prints and counts. Decoder, model, metrics and docs derive from it; probes/index.ts lists all. */
export interface Declaration {
  /** The name of the probe in the header of its fragment. A shared declaration has none. */
  probe?: string;
  records?: readonly RecordDeclaration[];
  maps?: readonly MapDeclaration[];
  /** Shared declarations: the fragment prints their records and counts in their maps. */
  uses?: readonly Declaration[];
}

/** A record on the wire: `[tag, ...fields]`. */
export interface RecordDeclaration {
  name: string;
  /** Recordings contain the number, so it never changes. */
  tag: number;
  /** An event is in the API, and `@emitted` counts it. The other records are the protocol of the collector. */
  event: boolean;
  /** In the order on the wire. Null for the record of a counter: maps.ts decodes it from the text of the line. */
  fields: Readonly<Record<string, Field>> | null;
  /** Something about the whole record, for docs/stream.md. */
  note?: string;
}

export interface Field<T = unknown> {
  read: Reader<T>;
  meaning: string;
  unit: Unit | null;
  /** The number on the wire that a missing field means. Only for last fields, which older recordings do not have. */
  missing?: number;
}
export type Unit = 'us' | 'ns' | 'bytes';

export function field<T>(read: Reader<T>, meaning: string, unit: Unit | null = null): Field<T> {
  return { read, meaning, unit };
}

/** A field that was added to the end of a record. `missing` is its value in recordings without it. */
export function addedField<T>(read: Reader<T>, meaning: string, missing: number): Field<T> {
  return { ...field(read, meaning), missing };
}

/** A kernel map that the composed program prints each second. */
export interface MapDeclaration {
  name: string;
  /** The number on the wire. Recordings contain it, so it never changes. */
  number: number;
  /** In the order on the wire. Empty for a map without a key. */
  key: readonly KeyPart[];
  /** A sum of bytes or nanoseconds may exceed 2^53; a count never does. */
  holds: 'count' | 'sum';
  /** What is counted or summed: it follows `holds` in docs/stream.md. */
  of: string;
  /** Null if no metric comes from the map. A histogram takes its sum from one map, its buckets from another. */
  feeds: FamilyDeclaration | null;
}

/** `name0` and `name1` are the first 16 bytes of a name, as two little-endian numbers. */
export type KeyPart =
  | 'device'
  | 'privacy'
  | 'errno'
  | 'reason'
  | 'cause'
  | 'stage'
  | 'reader'
  | 'violation'
  | 'route'
  | 'bucket'
  | 'name0'
  | 'name1';

/** A family of /metrics that comes from kernel maps. */
export interface FamilyDeclaration {
  /** Without the prefix and the suffix `_total` of a counter or `_seconds` of a histogram. */
  name: string;
  type: 'counter' | 'histogram';
  /** One short sentence: what is counted, with the kernel functions in brackets. */
  help: string;
  /** More information for docs/metrics.md. */
  details?: string;
  labels: readonly LabelName[];
  /** Label sets that exist with 0 before their first call. A family without labels always has its series. */
  known?: (host: KnownOfHost) => readonly Readonly<Partial<Record<LabelName, string>>>[];
  /** The family is present if one of these probes is attached. Left out, it is any probe that counts in its maps. */
  fedBy?: readonly string[];
}

/** An `importer` comes from the key parts `name0` and `name1`, or from `reader`, a `kind` from `violation`. */
export type LabelName =
  | 'device'
  | 'privacy'
  | 'reason'
  | 'errno'
  | 'cause'
  | 'stage'
  | 'importer'
  | 'kind'
  | 'route';

export interface KnownOfHost {
  countsViolation: (kind: Violation) => boolean;
}
