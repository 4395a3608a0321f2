import type { Field } from './declaration.ts';
import { type DeclaredRecord, RECORDS } from './declared.ts';
import { type Reader, readInteger } from './readers.ts';

/** First element of every tuple that a probe prints: the kind of record. */
export const TAGS = Object.fromEntries(RECORDS.map(({ name, tag }) => [name, tag])) as {
  readonly [R in DeclaredRecord as R['name']]: R['tag'];
};

/** The types of the records that are events, which the map `@emitted` counts. The others are the protocol of the collector. */
export const EVENT_TYPES: ReadonlySet<string> = new Set(
  RECORDS.filter(({ event }) => event).map(({ name }) => name),
);

type TupleDeclaration = Exclude<DeclaredRecord, { fields: null }>;
type Fields<D extends TupleDeclaration> = {
  -readonly [F in keyof D['fields']]: D['fields'][F] extends { read: Reader<infer T> } ? T : never;
};
/** A decoded tuple: `type` is its tag's name, `data` its fields. */
export type TupleRecord = {
  [D in TupleDeclaration as D['name']]: { type: D['name']; data: Fields<D> };
}[TupleKind];
export type TupleKind = TupleDeclaration['name'];
export type TupleOf<K extends TupleKind> = Extract<TupleRecord, { type: K }>;
/** A tuple that is a kernel event, not a protocol record. */
export type EventRecord = TupleOf<Extract<TupleDeclaration, { event: true }>['name']>;

interface Shape {
  type: string;
  names: readonly string[];
  readers: readonly Reader<unknown>[];
  /** What a missing field means on the wire; undefined if it must not be missing. */
  missing: readonly (number | undefined)[];
}

/** Shapes by tag. A counter has none: maps.ts decodes it from the text of the line. */
const SHAPES: (Shape | undefined)[] = [];
for (const { name, tag, fields } of RECORDS) {
  if (fields === null) continue;
  const list: readonly Field[] = Object.values(fields);
  SHAPES[tag] = {
    type: name,
    names: Object.keys(fields),
    readers: list.map(({ read }) => read),
    missing: list.map(({ missing }) => missing),
  };
}

/** Decodes `[TAG, ...]`. The failure names what is invalid: the tag, or a field. */
export function decodeTuple(tuple: readonly unknown[]): TupleRecord | 'unknown_tag' | 'bad_fields' {
  const tag = readInteger(tuple[0]);
  const shape = tag === undefined ? undefined : SHAPES[tag];
  if (shape === undefined) return 'unknown_tag';
  const { names, readers, missing } = shape;
  if (tuple.length > names.length + 1) return 'bad_fields';
  const data: Record<string, unknown> = {};
  for (let index = 0; index < names.length; index += 1) {
    const printed = index + 1 < tuple.length ? tuple[index + 1] : missing[index];
    const value = readers[index]?.(printed);
    if (value === undefined) return 'bad_fields';
    data[names[index] as string] = value;
  }
  return { type: shape.type, data } as TupleRecord;
}
