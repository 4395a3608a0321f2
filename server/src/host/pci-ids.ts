import { createReadStream } from 'node:fs';
import { isAbsent, isDenied } from '../lib/errno.ts';
import { readLines } from '../lib/read-lines.ts';
import { clean } from './vmm.ts';

/** Paths of the list: in Debian's package pci.ids, and in hwdata of other distributions. */
const PCI_IDS_FILES = ['/usr/share/misc/pci.ids', '/usr/share/hwdata/pci.ids'] as const;

export interface PciNames {
  vendor_name?: string;
  device_name?: string;
  class_name?: string;
}

interface Query {
  vendor: string;
  device: string;
  /** Six hex digits: class, subclass, programming interface. */
  class: string;
}

interface Pending extends Query {
  names: PciNames;
  resolve: (names: PciNames) => void;
  reject: (error: unknown) => void;
}

/**
 * Names from the host's list of PCI ids. The list has 1.5 MB and few names are needed, so it is not kept in memory. One
 * pass over the file answers all queries that were made before it started. If there is no list, or access is denied,
 * names are absent.
 */
export class PciIds {
  readonly #files: readonly string[];
  #queued: Pending[] = [];
  #reading = false;

  constructor(files: readonly string[] = PCI_IDS_FILES) {
    this.#files = files;
  }

  /** @throws if the list exists and cannot be read now */
  find(query: Query): Promise<PciNames> {
    return new Promise((resolve, reject) => {
      this.#queued.push({ ...query, names: {}, resolve, reject });
      if (!this.#reading) void this.#read();
    });
  }

  async #read(): Promise<void> {
    this.#reading = true;
    while (this.#queued.length > 0) {
      const queries = this.#queued;
      this.#queued = [];
      try {
        for (const file of this.#files) if (await scan(file, queries)) break;
        for (const { names, resolve } of queries) resolve(names);
      } catch (error) {
        for (const { reject } of queries) reject(error);
      }
    }
    this.#reading = false;
  }
}

/**
 * One pass over the file. Returns false if there is no such file or access is denied.
 * @throws if it cannot be read for another reason
 */
async function scan(file: string, queries: readonly Pending[]): Promise<boolean> {
  const vendors = groupBy(queries, ({ vendor }) => vendor);
  const classes = groupBy(queries, (query) => query.class.slice(0, 2));
  /** Queries for lines below the current vendor or class: its devices, or its subclasses. */
  let below: readonly Pending[] = [];
  let inClass = false;
  const parseLine = (line: string): void => {
    if (line.startsWith('\t')) {
      if (below.length === 0 || line.startsWith('\t\t')) return;
      const id = line.slice(1, inClass ? 3 : 5);
      const name = clean(line.slice(inClass ? 3 : 5));
      for (const { names, ...query } of below) {
        if (name === null || id !== (inClass ? query.class.slice(2, 4) : query.device)) continue;
        names[inClass ? 'class_name' : 'device_name'] = name;
      }
      return;
    }
    inClass = line.startsWith('C ');
    const id = inClass ? line.slice(2, 4) : line.slice(0, 4);
    below = (inClass ? classes : vendors).get(id) ?? [];
    const name = below.length === 0 ? null : clean(line.slice(4));
    // The name of the class is used if the subclass has none.
    for (const { names } of below) if (name !== null) names[inClass ? 'class_name' : 'vendor_name'] = name;
  };
  try {
    await readLines(createReadStream(file, { encoding: 'utf8' }), parseLine);
  } catch (error) {
    if (isAbsent(error) || isDenied(error)) return false;
    throw error;
  }
  return true;
}

function groupBy(queries: readonly Pending[], key: (query: Pending) => string): Map<string, Pending[]> {
  const groups = new Map<string, Pending[]>();
  for (const query of queries) groups.set(key(query), [...(groups.get(key(query)) ?? []), query]);
  return groups;
}
