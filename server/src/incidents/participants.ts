import type { Incident } from '../contract/incidents.ts';
import type { BufferState } from '../model/buffer-state.ts';

/** The most importers, and the most holders, that an incident names. */
const NAMED_LIMIT = 64;

/** The first importers or holders of an incident, and the number of further ones. */
export interface Named<T> {
  readonly shown: readonly T[];
  readonly more: number;
}

export type Importer = Incident['importers'][number];
export type Holder = Incident['holders'][number];

/** The importers and holders that an incident names. */
export interface Participants {
  importers: Named<Importer>;
  holders: Named<Holder>;
}

export const NONE: Named<never> = { shown: [], more: 0 };

/**
 * Takes the first NAMED_LIMIT items. If their number `all` is known, it does not iterate over the rest to count them.
 */
export function named<T>(ones: Iterable<T>, all?: number): Named<T> {
  const shown: T[] = [];
  let more = 0;
  for (const one of ones) {
    if (shown.length < NAMED_LIMIT) shown.push(one);
    else if (all === undefined) more += 1;
    else break;
  }
  return { shown, more: all === undefined ? more : Math.max(0, all - shown.length) };
}

/** The importers that have attached a buffer, and the processes that have a descriptor of it. */
export function participantsOf({ inode, importers, holders }: BufferState): Participants {
  function* attached(): Generator<Importer> {
    for (const { importer, importerDevice } of importers.attached())
      yield { importer, importer_device: importerDevice, inode };
  }
  return {
    importers: named(attached(), importers.attachedCount),
    holders: named(holders, holders.length),
  };
}
