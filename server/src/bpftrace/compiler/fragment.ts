import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TracerError } from '../../lib/errors.ts';
import { TAGS } from '../../protocol/codes.ts';
import { type Conditions, parseCondition } from './condition.ts';
import type { Fragment, FragmentSet, Snippet } from './fragment-set.ts';
import { loadPrelude } from './prelude.ts';
import { checkSources } from './source-check.ts';
import { sourceError } from './source-error.ts';

const FRAGMENT_FIELDS = ['name', 'hooks', 'needs', 'emits', 'maps'] as const;
const SNIPPET_FIELDS = ['in', 'out'] as const;

interface Value {
  value: string;
  where: string;
}

/**
 * Reads the folder `probes/`.
 * @throws TracerError with file and line if a source is wrong, or if the folder cannot be read
 */
export async function loadFragments(folder: string): Promise<FragmentSet> {
  const probes = await readFolder(folder);
  const oneshots = await readFolder(join(folder, 'oneshot'));
  const snippets = await readFolder(join(folder, 'snippets'));
  const prelude = await loadPrelude(join(folder, 'prelude'));
  const parse = (file: string, text: string): Fragment => parseFragment(file, text, prelude.conditions);
  const set: FragmentSet = {
    probes: probes.map(({ name, text }) => parse(`probes/${name}.bt`, text)),
    oneshots: new Map(oneshots.map(({ name, text }) => [name, parse(`probes/oneshot/${name}.bt`, text)])),
    snippets: new Map(
      snippets.map(({ name, text }) => [name, parseSnippet(`probes/snippets/${name}.bt`, text)]),
    ),
    prelude,
  };
  checkSources(set);
  return set;
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
export function parseFragment(file: string, source: string, conditions: Conditions = new Map()): Fragment {
  const { field, text, firstLine } = splitSource(file, source, FRAGMENT_FIELDS);
  const needs = field('needs');
  const emits = field('emits');
  const maps = field('maps');
  const emitted = list(emits.value);
  const unknown = emitted.find((name) => !Object.hasOwn(TAGS, name));
  if (unknown !== undefined) throw sourceError(`there is no record "${unknown}"`, emits.where);
  const named = list(maps.value);
  const invalid = named.find((name) => !/^@[A-Za-z_]\w*$/.test(name));
  if (invalid !== undefined) throw sourceError(`"${invalid}" is not a valid name of a map`, maps.where);
  return {
    name: field('name').value,
    file,
    hooks: field('hooks').value,
    needs: needs.value === '-' ? [] : parseCondition(needs.value, needs.where, conditions),
    emits: emitted,
    maps: named,
    text,
    firstLine,
  };
}

/** Splits the text of a snippet into header and body, and checks the header. `file` is used in messages only. */
export function parseSnippet(file: string, source: string): Snippet {
  const { field, text, firstLine } = splitSource(file, source, SNIPPET_FIELDS);
  const variables = ({ value, where }: Value): Snippet['inputs'] => {
    const names = list(value);
    const invalid = names.find((name) => !/^\$[a-z]\w*$/.test(name));
    if (invalid !== undefined) throw sourceError(`"${invalid}" is not a variable`, where);
    return { names: names.map((name) => name.slice(1)), where };
  };
  return { file, inputs: variables(field('in')), outputs: variables(field('out')), text, firstLine };
}

function splitSource<Field extends string>(
  file: string,
  source: string,
  fields: readonly Field[],
): { field(name: Field): Value; text: string; firstLine: number } {
  const lines = source.split('\n');
  const first = lines.findIndex((line) => !line.startsWith('//'));
  const end = first < 0 ? lines.length : first;
  const header = readHeader(file, lines.slice(0, end), fields);
  return {
    field(name) {
      const found = header.get(name);
      if (found === undefined) throw sourceError(`the field "${name}" is missing`, `${file}:1`);
      return found;
    },
    text: lines.slice(end).join('\n'),
    firstLine: end + 1,
  };
}

function readHeader(file: string, lines: string[], fields: readonly string[]): Map<string, Value> {
  const header = new Map<string, Value>();
  let last: Value | undefined;
  for (const [index, line] of lines.entries()) {
    const where = `${file}:${index + 1}`;
    const match = /^\/\/ ([a-z]+):(?: (.*))?$/.exec(line);
    if (match !== null) {
      const [, name = ''] = match;
      if (!fields.includes(name)) throw sourceError(`the header has an unknown field "${name}"`, where);
      if (header.has(name)) throw sourceError(`the field "${name}" occurs twice`, where);
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

function list(value: string): string[] {
  return value === '-' ? [] : value.split(',').map((entry) => entry.trim());
}
