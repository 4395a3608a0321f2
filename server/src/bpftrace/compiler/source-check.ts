import { didYouMean } from '../../lib/suggest.ts';
import { replaceConstants } from './constants.ts';
import type { FragmentSet, Snippet } from './fragment-set.ts';
import { decidingMap, writtenMaps } from './maps.ts';
import { withPageSize } from './prelude.ts';
import { linesOf } from './source.ts';
import { sourceError } from './source-error.ts';
import { Variables } from './variables.ts';

/**
 * Checks what does not depend on the host, on all lines: the names of constants and of maps that decide, and that
 * variables go in and out of snippets as their headers declare.
 * @throws TracerError with file, line and fix
 */
export function checkSources({ probes, oneshots, snippets, prelude }: FragmentSet): void {
  const { constants } = withPageSize(prelude, 0);
  const fragments = [...probes, ...oneshots.values()];
  const sources = [...fragments, ...snippets.values()];
  const written = writtenMaps(sources.map(({ text }) => text).join('\n'));
  for (const { line, where } of sources.flatMap((source) => [...linesOf(source)])) {
    replaceConstants(line, constants, where);
    const maps = [decidingMap(line), /\/\/\?.*(@\w+)/.exec(line)?.[1]];
    const map = maps.find((name) => name !== undefined && !written.has(name));
    if (map !== undefined) {
      throw sourceError(`no fragment or snippet writes ${map}`, where, didYouMean(map, [...written]));
    }
  }
  for (const fragment of fragments) new Variables([], snippets).scan(fragment);
  for (const snippet of snippets.values()) checkHeader(snippet, snippets);
}

function checkHeader(snippet: Snippet, snippets: ReadonlyMap<string, Snippet>): void {
  const { inputs, outputs } = snippet;
  const variables = new Variables(inputs.names, snippets);
  variables.scan(snippet);
  const unread = inputs.names.find((name) => !variables.read.has(name) && !outputs.names.includes(name));
  if (unread !== undefined) {
    const message = `$${unread} is an input that the snippet does not read`;
    throw sourceError(message, inputs.where, 'remove it from `in`');
  }
  const unset = outputs.names.find((name) => !variables.isSet(name) || !variables.written.has(name));
  if (unset !== undefined) {
    const remedy = 'set it outside of inner blocks, whose variables end with them, or remove it from `out`';
    throw sourceError(`$${unset} is an output that the snippet does not set`, outputs.where, remedy);
  }
}
