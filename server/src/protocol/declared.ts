import { DECLARATIONS } from '../../../probes/index.ts';
import { TracerError } from '../lib/errors.ts';
import type { Declaration, FamilyDeclaration, MapDeclaration, RecordDeclaration } from './declaration.ts';

/** What probes/ declares. This is the only file of the server that imports probes/. */
type Declared = (typeof DECLARATIONS)[number];
export type DeclaredRecord = Extract<Declared, { records: unknown }>['records'][number];
type OneMap = Extract<Declared, { maps: unknown }>['maps'][number];
type OneFamily = Exclude<OneMap['feeds'], null>;
export type ProbeName = Extract<Declared, { probe: unknown }>['probe'];
export type MapName = OneMap['name'];
export type CounterName = Extract<OneFamily, { type: 'counter' }>['name'];
export type HistogramName = Extract<OneFamily, { type: 'histogram' }>['name'];
export type DeclaredFamily = FamilyDeclaration &
  ({ type: 'counter'; name: CounterName } | { type: 'histogram'; name: HistogramName });
export type DeclaredMap = MapDeclaration & { name: MapName; feeds: DeclaredFamily | null };

const ALL: readonly Declaration[] = DECLARATIONS;
checkDeclarations(ALL);
export const RECORDS = recordsOf(ALL) as readonly DeclaredRecord[];
export const MAP_DECLARATIONS = mapsOf(ALL) as readonly DeclaredMap[];
export const FAMILY_DECLARATIONS = familiesOf(ALL) as readonly DeclaredFamily[];

/** The probes of which one must be attached, so that the family is present. */
export function probesFeeding(family: FamilyDeclaration): readonly string[] {
  const feedsIt = ({ maps = [] }: Declaration) => maps.some(({ feeds }) => feeds === family);
  return (
    family.fedBy ?? ALL.filter((one) => withShared(one).some(feedsIt)).flatMap(({ probe }) => probe ?? [])
  );
}

/** The names of the records that the fragment of a probe prints. */
export function recordsOfProbe(probe: string): string[] {
  return recordsOf(ofProbe(probe)).map(({ name }) => name);
}

/** The names of the maps in which the fragment of a probe counts. */
export function mapsOfProbe(probe: string): MapName[] {
  return mapsOf(ofProbe(probe)).map(({ name }) => name as MapName);
}

/** @throws TracerError for a name or a number that is declared twice, or a declaration or a probe that is not listed */
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
  for (const { name, fedBy = [] } of familiesOf(all)) {
    const unknown = fedBy.find((probe) => !values.probe.includes(probe));
    if (unknown !== undefined) throw wrong(`the family ${name} is fed by ${unknown}, which is not a probe`);
  }
}

function ofProbe(name: string): Declaration[] {
  return ALL.filter(({ probe }) => probe === name).flatMap(withShared);
}

function withShared(declaration: Declaration): Declaration[] {
  return [declaration, ...(declaration.uses ?? [])];
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
