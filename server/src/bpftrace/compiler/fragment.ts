import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TracerError } from '../../lib/errors.ts';
import { parseCondition, type Term } from './condition.ts';

/** One file of probes/: the parsed header, and the bpftrace text below it with the number of its first line. */
export interface Fragment {
  name: string;
  file: string;
  hooks: string;
  needs: Term[];
  text: string;
  firstLine: number;
}

/** Text that replaces `{{use:NAME}}`. */
export interface Snippet {
  file: string;
  text: string;
  firstLine: number;
}

/** All files below probes/. */
export interface FragmentSet {
  /** Composed into the long-running program, in alphabetical order of their files. */
  probes: Fragment[];
  /** Separate programs, by name. */
  oneshots: ReadonlyMap<string, Fragment>;
  snippets: ReadonlyMap<string, Snippet>;
}

const FIELDS = ['name', 'hooks', 'needs'] as const;
type Field = (typeof FIELDS)[number];

/**
 * Reads the folder `probes/`.
 * @throws TracerError with file and line if a header is wrong, or if the folder cannot be read
 */
export async function loadFragments(folder: string): Promise<FragmentSet> {
  const probes = await readFolder(folder);
  const oneshots = await readFolder(join(folder, 'oneshot'));
  const snippets = await readFolder(join(folder, 'snippets'));
  return {
    probes: probes.map(({ name, text }) => parseFragment(`probes/${name}.bt`, text)),
    oneshots: new Map(
      oneshots.map(({ name, text }) => [name, parseFragment(`probes/oneshot/${name}.bt`, text)]),
    ),
    snippets: new Map(
      snippets.map(({ name, text }) => [name, { file: `probes/snippets/${name}.bt`, text, firstLine: 1 }]),
    ),
  };
}

async function readFolder(folder: string): Promise<{ name: string; text: string }[]> {
  const entries = await readdir(folder).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT' && !folder.endsWith('probes')) return [];
    throw new TracerError('file_unreadable', `the probes in ${folder} cannot be read`, { cause });
  });
  const names = entries.filter((entry) => entry.endsWith('.bt')).sort();
  return Promise.all(
    names.map(async (entry) => ({
      name: entry.slice(0, -'.bt'.length),
      text: await readFile(join(folder, entry), 'utf8'),
    })),
  );
}

/** Splits the text of a fragment into header and body, and checks the header. `file` is used in messages only. */
export function parseFragment(file: string, source: string): Fragment {
  const lines = source.split('\n');
  const end = lines.findIndex((line) => !line.startsWith('//'));
  const header = readHeader(file, end < 0 ? lines : lines.slice(0, end));
  const field = (name: Field): { value: string; where: string } => {
    const found = header.get(name);
    if (found === undefined) throw headerError(`the field "${name}" is missing`, `${file}:1`);
    return found;
  };
  const needs = field('needs');
  return {
    name: field('name').value,
    file,
    hooks: field('hooks').value,
    needs: needs.value === '-' ? [] : parseCondition(needs.value, needs.where),
    text: end < 0 ? '' : lines.slice(end).join('\n'),
    firstLine: (end < 0 ? lines.length : end) + 1,
  };
}

function readHeader(file: string, lines: string[]): Map<Field, { value: string; where: string }> {
  const header = new Map<Field, { value: string; where: string }>();
  let last: { value: string; where: string } | undefined;
  for (const [index, line] of lines.entries()) {
    const where = `${file}:${index + 1}`;
    const match = /^\/\/ ([a-z]+):(?: (.*))?$/.exec(line);
    if (match !== null) {
      const name = match[1] as Field;
      if (!FIELDS.includes(name)) throw headerError(`the header has an unknown field "${name}"`, where);
      if (header.has(name)) throw headerError(`the field "${name}" occurs twice`, where);
      last = { value: (match[2] ?? '').trim(), where };
      header.set(name, last);
    } else if (last !== undefined && /^\/\/ {3,}\S/.test(line)) {
      last.value += ` ${line.slice(2).trim()}`;
    } else {
      last = undefined;
    }
  }
  return header;
}

function headerError(message: string, where: string): TracerError {
  return new TracerError('invariant_broken', message, { where, remedy: 'see probes/README.md' });
}
