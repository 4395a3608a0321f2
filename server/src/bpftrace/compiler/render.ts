import {
  type ConditionFacts,
  type Conditions,
  explainUnmet,
  parseCondition,
  type Term,
} from './condition.ts';
import { replaceConstants } from './constants.ts';
import type { Snippet } from './fragment-set.ts';
import { decidingMap } from './maps.ts';
import type { Prelude } from './prelude.ts';
import { linesOf, type Source } from './source.ts';
import { sourceError } from './source-error.ts';
import { snippetOf } from './variables.ts';

export interface RenderedFunction {
  function: string;
  module: string;
}

export interface Rendered {
  text: string;
  /** Functions in `{{fn:...}}` placeholders of kept lines that the host has. */
  functions: RenderedFunction[];
  /** Alternatives (`a|b`) of each `{{fn:...}}` of kept lines of which the host has none. */
  missing: string[];
  /** Members in `{{offset:...}}` and `{{bit:...}}` of kept lines that the host does not have. */
  missingMembers: string[];
}

const CONDITION = /^(.*?)\s*\/\/\?\s*(.*?)\s*$/;
const PLACEHOLDER = /\{\{([^{}]*)\}\}/g;
const MEMBER_PLACE = /^(offset|bit):(.*)$/;

/**
 * Resolves the conditional lines and the placeholders of one fragment. Pure.
 * @throws TracerError for an unknown placeholder, constant, snippet or condition
 */
export function render(
  source: Source,
  snippets: ReadonlyMap<string, Snippet>,
  { constants, conditions }: Prelude,
  facts: ConditionFacts,
): Rendered {
  const functions = new Map<string, RenderedFunction>();
  const missing = new Set<string>();
  const missingMembers = new Set<string>();

  const expand = (part: Source, within: readonly string[]): string => {
    const kept: string[] = [];
    for (const { text, where } of keptLines(part, conditions, facts)) {
      const named = replaceConstants(text, constants, where);
      const replaced = named.replace(PLACEHOLDER, (_, inner: string) => replace(inner.trim(), where, within));
      // A snippet of which this host keeps no line leaves no empty line.
      if (replaced !== '' || text === '') kept.push(replaced);
    }
    return kept.join('\n');
  };

  const replace = (inner: string, where: string, within: readonly string[]): string => {
    if (inner.startsWith('use:')) {
      const name = inner.slice('use:'.length);
      const snippet = snippetOf(name, snippets, where);
      if (within.includes(name)) throw sourceError(`the snippet "${name}" uses itself`, where);
      return expand(snippet, [...within, name]).trimEnd();
    }
    if (inner.startsWith('fn:')) {
      const names = functionNames(inner, where);
      for (const name of names) {
        const module = facts.moduleOf(name);
        if (module === undefined) continue;
        functions.set(name, { function: name, module });
        return `${module}:${name}`;
      }
      missing.add(names.join('|'));
      return `unknown:${names[0]}`;
    }
    const place = MEMBER_PLACE.exec(inner);
    if (place !== null) {
      const path = memberPath(inner, where);
      const bits = facts.bitsOf(path);
      if (bits === undefined) missingMembers.add(path);
      return String(place[1] === 'bit' ? (bits ?? 0) % 8 : Math.floor((bits ?? 0) / 8));
    }
    throw sourceError(`"{{${inner}}}" is not a known placeholder`, where);
  };

  const text = expand(source, []);
  return {
    text,
    functions: [...functions.values()],
    missing: [...missing],
    missingMembers: [...missingMembers],
  };
}

/** All conditions, functions and members that a text names, on any line: the facts that inspectHost() must look up. */
export function scan(
  source: Source,
  named: Conditions,
): { terms: Term[]; functions: string[]; members: string[] } {
  const terms: Term[] = [];
  const functions: string[] = [];
  const members: string[] = [];
  for (const { line, where } of linesOf(source)) {
    const condition = CONDITION.exec(line)?.[2]?.replace(/\{$/, '').trim();
    if (condition !== undefined && condition !== '}') terms.push(...parseCondition(condition, where, named));
    for (const [, inner = ''] of line.matchAll(PLACEHOLDER)) {
      if (inner.trim().startsWith('fn:')) functions.push(...functionNames(inner.trim(), where));
      if (MEMBER_PLACE.test(inner.trim())) members.push(memberPath(inner.trim(), where));
    }
  }
  return { terms, functions, members };
}

function* keptLines(
  source: Source,
  named: Conditions,
  facts: ConditionFacts,
): Generator<{ text: string; where: string }> {
  const isMet = (condition: string, where: string): boolean =>
    explainUnmet(parseCondition(condition, where, named), facts) === null;
  const blocks: { kept: boolean; where: string }[] = [];
  const isReached = (text: string): boolean => {
    const map = decidingMap(text);
    return blocks.every((block) => block.kept) && (map === undefined || facts.isWritten(map));
  };
  for (const { line, where } of linesOf(source)) {
    const match = CONDITION.exec(line);
    if (match === null) {
      if (isReached(line)) yield { text: line, where };
      continue;
    }
    const [, text = '', condition = ''] = match;
    if (text.trim() === '' && condition === '}') {
      if (blocks.pop() === undefined) throw sourceError('"//? }" closes a block that was not opened', where);
    } else if (text.trim() === '' && condition.endsWith('{')) {
      const kept = isMet(condition.slice(0, -1).trim(), where);
      blocks.push({ kept, where });
    } else if (isMet(condition, where)) {
      if (isReached(text)) yield { text, where };
    }
  }
  const open = blocks[0];
  if (open !== undefined) throw sourceError('"//? ... {" is not closed', open.where);
}

function functionNames(inner: string, where: string): string[] {
  const names = inner
    .slice('fn:'.length)
    .split('|')
    .map((name) => name.trim());
  if (!names.every((name) => /^[A-Za-z_]\w*$/.test(name))) {
    throw sourceError(`"{{${inner}}}" does not name a function`, where);
  }
  return names;
}

function memberPath(inner: string, where: string): string {
  const path = inner.slice(inner.indexOf(':') + 1).trim();
  if (!/^[A-Za-z_]\w*\.[A-Za-z_]\w*$/.test(path)) {
    throw sourceError(`"{{${inner}}}" does not name a struct.member`, where);
  }
  return path;
}
