import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { orAbsent } from '../lib/errno.ts';
import { type BtfFound, type BtfNames, BtfSearch } from './btf.ts';
import { listBtf } from './loaded-modules.ts';

/** The wanted functions and members that the kernel and its loaded modules have. */
export interface KernelTypes {
  present: boolean;
  unreadable?: boolean;
  functions: Map<string, string[]>;
  members: Record<string, number>;
  modules: string[];
}

/**
 * Searches the BTF of the kernel and of its loaded modules.
 *
 * @param folder /sys/kernel/btf
 * @throws if a file exists and cannot be read; one that cannot be parsed is reported in the result
 */
export async function readKernelTypes(folder: string, wanted: BtfNames): Promise<KernelTypes> {
  const functions = new Map<string, string[]>();
  const members: Record<string, number> = {};
  const kernel = await orAbsent(readWhole(join(folder, 'vmlinux')), null);
  const none = { present: false, functions, members, modules: [] };
  if (kernel === null) return none;
  const note = (module: string, found: BtfFound): void => {
    for (const name of found.functions) functions.set(name, [...(functions.get(name) ?? []), module]);
    for (const [path, offset] of found.members) members[path] ??= offset;
  };
  const search = new BtfSearch(wanted);
  try {
    note('vmlinux', search.searchKernel(kernel));
  } catch {
    return { ...none, unreadable: true };
  }
  const modules = (await listBtf(folder)).filter((name) => name !== 'vmlinux');
  for (const module of modules) {
    // Null if the module was unloaded since the list was read.
    const bytes = await orAbsent(readWhole(join(folder, module)), null);
    try {
      if (bytes !== null) note(module, search.searchModule(bytes));
    } catch {
      // Its BTF is damaged: none of its functions can be traced.
    }
  }
  return { present: true, functions, members, modules };
}

/**
 * Reads a file of sysfs. Its reads return at most one page, and fs.readFile treats a short first read as the end of the
 * file.
 */
async function readWhole(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const bytes = Buffer.alloc((await file.stat()).size);
    for (let length = 0; length < bytes.length; ) {
      const { bytesRead } = await file.read(bytes, length);
      if (bytesRead === 0) return bytes.subarray(0, length);
      length += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}
