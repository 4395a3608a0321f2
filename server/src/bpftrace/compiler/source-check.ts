import { TracerError } from '../../lib/errors.ts';
import { didYouMean } from '../../lib/suggest.ts';
import { replaceConstants } from './constants.ts';
import type { FragmentSet, Snippet } from './fragment.ts';
import { withPageSize } from './prelude.ts';
import { linesOf, type Source } from './source.ts';
import { deciding, writtenMaps } from './unwritten.ts';

/**
 * Checks what does not depend on the host, on all lines: the names of constants and of maps that decide, and that
 * variables go in and out of snippets as their headers declare.
 * @throws TracerError with file, line and fix
 */
export function checkSources({ probes, oneshots, snippets, prelude }: FragmentSet): void {
  const { constants } = withPageSize(prelude, 0);
  const all = [...probes, ...oneshots.values(), ...snippets.values()];
  const written = writtenMaps(all.map(({ text }) => text).join('\n'));
  for (const { line, where } of all.flatMap((source) => [...linesOf(source)])) {
    replaceConstants(line, constants, where);
    const map = deciding(line);
    if (map !== undefined && !written.has(map)) {
      throw problem(`no fragment or snippet writes ${map}`, where, didYouMean(map, [...written]));
    }
  }
  for (const fragment of [...probes, ...oneshots.values()]) readVariables(fragment, [], snippets);
  for (const snippet of snippets.values()) checkHeader(snippet, snippets);
}

function checkHeader(snippet: Snippet, snippets: ReadonlyMap<string, Snippet>): void {
  const { inputs, outputs } = snippet;
  const { read, written, set } = readVariables(snippet, inputs.names, snippets);
  const unread = inputs.names.find((name) => !read.has(name) && !outputs.names.includes(name));
  if (unread !== undefined) {
    throw problem(
      `$${unread} is an input that the snippet does not read`,
      inputs.where,
      'remove it from `in`',
    );
  }
  const unset = outputs.names.find((name) => !set.has(name) || !written.has(name));
  if (unset !== undefined) {
    const remedy = 'set it outside of inner blocks, whose variables end with them, or remove it from `out`';
    throw problem(`$${unset} is an output that the snippet does not set`, outputs.where, remedy);
  }
}

/** A use of a snippet, another placeholder, the variable of a loop, a variable that is set or read, and what ends a statement. */
const TOKEN = /\{\{\s*(?:use:([\w-]+))?[^{}]*\}\}|\bfor \(\$(\w+)|\$(\w+)(\s*=(?!=))?|[{};]/g;
const STRINGS_AND_COMMENTS = /"(?:[^"\\]|\\.)*"|\/\/.*/g;

/**
 * The variables that a source reads, those that it writes, and those that are set at its end. As in bpftrace, a variable
 * ends with the block in which it is set first.
 */
function readVariables(
  source: Source,
  inputs: readonly string[],
  snippets: ReadonlyMap<string, Snippet>,
): { read: ReadonlySet<string>; written: ReadonlySet<string>; set: ReadonlySet<string> } {
  const read = new Set<string>();
  const written = new Set<string>();
  const outermost = new Set(inputs);
  const blocks = [outermost];
  const used: Snippet[] = [];
  let pending: string[] = [];
  const isSet = (name: string): boolean => blocks.some((block) => block.has(name));
  const settle = (): void => {
    for (const name of pending) {
      written.add(name);
      if (!isSet(name)) blocks.at(-1)?.add(name);
    }
    pending = [];
  };
  for (const { line, where } of linesOf(source)) {
    for (const [token, use, looped, name, assigns] of line
      .replace(STRINGS_AND_COMMENTS, '')
      .matchAll(TOKEN)) {
      if (use !== undefined) {
        const snippet = snippetOf(use, snippets, where);
        used.push(snippet);
        const missing = snippet.inputs.names.find((input) => !isSet(input));
        if (missing !== undefined) {
          throw problem(
            `the snippet "${use}" reads $${missing}, which is not set here`,
            where,
            `set $${missing} before {{use:${use}}}`,
          );
        }
        for (const input of snippet.inputs.names) read.add(input);
        pending.push(...snippet.outputs.names);
        settle();
      } else if (looped !== undefined) pending.push(looped);
      else if (assigns !== undefined && name !== undefined) pending.push(name);
      else if (name !== undefined) {
        if (!isSet(name)) throw unsetVariable(name, used, where);
        read.add(name);
      } else if (token === '{') {
        blocks.push(new Set());
        settle();
      } else if (token === '}' || token === ';') {
        settle();
        if (token === '}' && blocks.length > 1) blocks.pop();
      }
    }
  }
  return { read, written, set: outermost };
}

/** The snippet that `{{use:NAME}}` names. */
export function snippetOf(name: string, snippets: ReadonlyMap<string, Snippet>, where: string): Snippet {
  const snippet = snippets.get(name);
  if (snippet !== undefined) return snippet;
  throw problem(`there is no snippet "${name}"`, where, `write probes/snippets/${name}.bt`);
}

function unsetVariable(name: string, used: readonly Snippet[], where: string): TracerError {
  const local = used.findLast(({ text }) => new RegExp(`\\$${name}\\s*=(?!=)`).test(text));
  return local === undefined
    ? problem(
        `$${name} is read, but not set before`,
        where,
        `set $${name} in this block, or use a snippet that sets it`,
      )
    : problem(`$${name} is not an output of ${local.file}`, where, `add it to \`out\` there, or set it here`);
}

function problem(message: string, where: string, remedy: string): TracerError {
  return new TracerError('invariant_broken', message, { where, remedy });
}
