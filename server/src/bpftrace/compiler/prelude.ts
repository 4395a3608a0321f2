import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TracerError } from '../../lib/errors.ts';
import { type Conditions, parseConditions } from './condition.ts';
import { type Constants, PAGE_SIZE, parseConstants } from './constants.ts';

/** The names that all fragments and snippets may use. */
export interface Prelude {
  constants: Constants;
  conditions: Conditions;
}

/** Reads probes/prelude. */
export async function loadPrelude(folder: string): Promise<Prelude> {
  return {
    constants: parseConstants(await readPart(folder, 'constants.h')),
    conditions: parseConditions(await readPart(folder, 'conditions.txt')),
  };
}

/** Adds the page size of the host to the constants. */
export function withPageSize(prelude: Prelude, bytes: number): Prelude {
  return { ...prelude, constants: new Map([...prelude.constants, [PAGE_SIZE, String(bytes)]]) };
}

async function readPart(folder: string, file: string): Promise<string> {
  return readFile(join(folder, file), 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new TracerError('file_unreadable', `${file} in ${folder} cannot be read`, { cause });
  });
}
