import { DECLARATIONS } from '../../../probes/index.ts';
import { TracerError } from '../lib/errors.ts';
import type { Declaration, FamilyDeclaration, MapDeclaration, RecordDeclaration } from './declaration.ts';

/** What probes/ declares, as lists. This is the only file of the server that imports probes/. */
type Declared = (typeof DECLARATIONS)[number];
export type DeclaredRecord = Extract<Declared, { records: unknown }>['records'][number];
type Map = Extract<Declared, { maps: unknown }>['maps'][number];
type Family = Exclude<Map['feeds'], null>;
export type MapName = Map['name'];
export type CounterName = Extract<Family, { type: 'counter' }>['name'];
export type HistogramName = Extract<Family, { type: 'histogram' }>['name'];
export type DeclaredFamily = FamilyDeclaration &
  ({ type: 'counter'; name: CounterName } | { type: 'histogram'; name: HistogramName });
export type DeclaredMap = MapDeclaration & { name: MapName; feeds: DeclaredFamily | null };

checkDeclarations(DECLARATIONS);
export const RECORDS = recordsOf(DECLARATIONS) as readonly DeclaredRecord[];
export const MAP_DECLARATIONS = mapsOf(DECLARATIONS) as readonly DeclaredMap[];
export const FAMILY_DECLARATIONS = familiesOf(DECLARATIONS) as readonly DeclaredFamily[];

/** The probes of which one must be attached, so that the family is present. */
export function probesFeeding(family: FamilyDeclaration): readonly string[] {
  return family.fedBy ?? probesWith(({ maps = [] }) => maps.some(({ feeds }) => feeds === family));
}

/** The names of the records that the fragment of a probe prints. */
export function recordsOfProbe(probe: string): string[] {
  return recordsOf(withShared(probe)).map(({ name }) => name);
}

/** The names of the maps in which the fragment of a probe counts. */
export function mapsOfProbe(probe: string): MapName[] {
  return mapsOf(withShared(probe)).map(({ name }) => name as MapName);
}

/** @throws TracerError if a name or a number is declared twice, or if a declaration in use is not in the list */
export function checkDeclarations(all: readonly Declaration[]): void {
  const records = recordsOf(all);
  const maps = mapsOf(all);
  const values = {
    probe: all.flatMap(({ probe }) => probe ?? []),
    record: records.map(({ name }) => name),
    tag: records.map(({ tag }) => tag),
    map: maps.map(({ name }) => name),
    'map number': maps.map(({ number }) => number),
    family: familiesOf(all).map(({ name }) => name),
  };
  for (const [what, list] of Object.entries<readonly (string | number)[]>(values)) {
    const twice = list.find((value, index) => list.indexOf(value) !== index);
    if (twice !== undefined) throw wrong(`the ${what} ${twice} is declared twice`);
  }
  const unlisted = all.find(({ uses = [] }) => uses.some((used) => !all.includes(used)));
  if (unlisted !== undefined)
    throw wrong(`the probe ${unlisted.probe} uses a declaration that is not listed`);
}

function probesWith(matches: (declaration: Declaration) => boolean): string[] {
  const all: readonly Declaration[] = DECLARATIONS;
  const found = all.filter((one) => matches(one) || one.uses?.some(matches));
  return found.flatMap(({ probe }) => probe ?? []);
}

function withShared(probe: string): Declaration[] {
  const all: readonly Declaration[] = DECLARATIONS;
  return all.filter((one) => one.probe === probe).flatMap((one) => [one, ...(one.uses ?? [])]);
}

function recordsOf(all: readonly Declaration[]): RecordDeclaration[] {
  return all.flatMap(({ records = [] }) => records);
}

function mapsOf(all: readonly Declaration[]): MapDeclaration[] {
  return all.flatMap(({ maps = [] }) => maps);
}

/** In the order of the maps. Both maps of a histogram feed the same family. */
function familiesOf(all: readonly Declaration[]): FamilyDeclaration[] {
  return [...new Set(mapsOf(all).flatMap(({ feeds }) => feeds ?? []))];
}

function wrong(message: string): TracerError {
  return new TracerError('invariant_broken', message, {
    where: 'probes/index.ts',
    remedy: 'see docs/developing-probes.md',
  });
}
