import { createReadStream } from 'node:fs';
import { isAbsent, isDenied } from '../../support/errno.ts';
import { clean } from './vmm.ts';

/** Where distributions put the list: Debian's package pci.ids, the hwdata of the others. */
export const PCI_IDS_FILES = ['/usr/share/misc/pci.ids', '/usr/share/hwdata/pci.ids'] as const;

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
 * Names from the host's list of PCI ids. The list is 1.5 MB and few names are ever asked for, so it is not kept: one pass
 * over the file answers all that were asked until it began. Without a list, or the right to read it, there are no names.
 */
export class PciIds {
  private readonly files: readonly string[];
  private waiting: Pending[] = [];
  private reading = false;

  constructor(files: readonly string[] = PCI_IDS_FILES) {
    this.files = files;
  }

  /** Rejects where the list cannot be read now. */
  find(query: Query): Promise<PciNames> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ ...query, names: {}, resolve, reject });
      if (!this.reading) void this.read();
    });
  }

  private async read(): Promise<void> {
    this.reading = true;
    while (this.waiting.length > 0) {
      const asked = this.waiting;
      this.waiting = [];
      try {
        for (const file of this.files) if (await scan(file, asked)) break;
        for (const { names, resolve } of asked) resolve(names);
      } catch (error) {
        for (const { reject } of asked) reject(error);
      }
    }
    this.reading = false;
  }
}

/**
 * One pass; false where there is no such file or it may not be read.
 * @throws where it cannot be read now.
 */
async function scan(file: string, asked: readonly Pending[]): Promise<boolean> {
  const vendors = groupBy(asked, ({ vendor }) => vendor);
  const classes = groupBy(asked, (query) => query.class.slice(0, 2));
  /** Who asked for something below the line that is being read: devices of a vendor, subclasses of a class. */
  let below: readonly Pending[] = [];
  let inClass = false;
  const take = (line: string): void => {
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
    // The name of the class stands where the subclass has none.
    for (const { names } of below) if (name !== null) names[inClass ? 'class_name' : 'vendor_name'] = name;
  };
  let rest = '';
  try {
    for await (const chunk of createReadStream(file, { encoding: 'utf8' })) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) take(line);
    }
  } catch (error) {
    if (isAbsent(error) || isDenied(error)) return false;
    throw error;
  }
  take(rest);
  return true;
}

function groupBy(asked: readonly Pending[], key: (query: Pending) => string): Map<string, Pending[]> {
  const groups = new Map<string, Pending[]>();
  for (const query of asked) groups.set(key(query), [...(groups.get(key(query)) ?? []), query]);
  return groups;
}
