import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { type Document, isNode, isSeq, LineCounter, parseDocument } from 'yaml';
import type { Problem } from '../lib/problems.ts';
import { didYouMean } from '../lib/suggest.ts';

/** The part of a schema that describes a value to people. */
interface Described {
  properties?: Record<string, Described>;
  additionalProperties?: boolean;
  patternProperties?: Record<string, Described>;
  items?: Described;
  enum?: readonly string[];
  description?: string;
}

export interface YamlFile<T> {
  /** Undefined if there is a problem. */
  value: T | undefined;
  problems: Problem[];
  /** Where a key is, as PATH:LINE:COLUMN. */
  at: (keys: readonly string[]) => string;
}

/**
 * Reads YAML whose format another program defines, and checks it against a schema. Every scalar is a text, as a strict
 * reader in Go accepts it: `X-XSS-Protection: 1`. An empty value counts as absent; an unknown key is a problem. Problems
 * never contain values, because they may be secrets; only the words of an enum are quoted.
 */
export function readYaml<S extends TSchema>(text: string, path: string, schema: S): YamlFile<Static<S>> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, schema: 'failsafe' });
  const position = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${path}:${line}:${col}`;
  };
  const at = (keys: readonly string[]): string => {
    const node: unknown = document.getIn(pathOf(document, keys), true);
    return isNode(node) && node.range ? position(node.range[0]) : path;
  };
  if (document.errors.length > 0) {
    const problems = document.errors.map(({ code, pos }) => ({
      // The message of the parser quotes the text.
      what: `this is not valid YAML (${code.toLowerCase().replaceAll('_', ' ')})`,
      where: position(pos[0]),
      remedy: 'correct the syntax',
    }));
    return { value: undefined, problems, at };
  }
  const value = withoutEmpty(document.toJS());
  const problems = Value.Errors(schema, value).flatMap((error): Problem[] => {
    // An unknown key also has an error of its own, with the keyword `boolean`.
    if (error.keyword === 'additionalProperties') return [];
    const keys = error.instancePath.split('/').slice(1).map(unescaped);
    return [{ ...describe(error, keys, schema as Described, value), where: at(keys) }];
  });
  return { value: problems.length === 0 ? (value as Static<S>) : undefined, problems, at };
}

function describe(
  { keyword, params }: { keyword: string; params: object },
  keys: readonly string[],
  schema: Described,
  value: unknown,
): Pick<Problem, 'what' | 'remedy'> {
  const name = keys.join('.');
  if (keyword === 'boolean') {
    const known = Object.keys(schemaAt(schema, keys.slice(0, -1))?.properties ?? {});
    return { what: `${name} is not a key of this file`, remedy: didYouMean(keys.at(-1) ?? '', known) };
  }
  if (keyword === 'required') {
    const missing = (params as { requiredProperties?: string[] }).requiredProperties?.join(', ') ?? '';
    return { what: `${name} has no ${missing}`, remedy: `add ${missing}` };
  }
  const found = schemaAt(schema, keys);
  const words = found?.enum;
  if (words !== undefined) {
    const given = keys.reduce((node: unknown, key) => (node as Record<string, unknown>)?.[key], value);
    const what = `${name} cannot be ${JSON.stringify(given)}`;
    return { what, remedy: found?.description ?? didYouMean(String(given), words) };
  }
  const what = name === '' ? 'the file is not a map of keys' : `${name} is not valid`;
  return { what, remedy: found?.description ?? (found?.items === undefined ? 'give a text' : 'give a list') };
}

function schemaAt(schema: Described, keys: readonly string[]): Described | undefined {
  return keys.reduce(
    (node: Described | undefined, key) =>
      node?.properties?.[key] ?? Object.values(node?.patternProperties ?? {})[0] ?? node?.items,
    schema,
  );
}

/** Removes keys without a value at each level, except in maps with free keys, where an empty value is a mistake. */
function withoutEmpty(root: unknown): unknown {
  if (root === null || root === '') return {};
  if (typeof root !== 'object' || Array.isArray(root)) return root;
  return Object.fromEntries(
    Object.entries(root as Record<string, unknown>)
      .filter(([, value]) => value !== '' && value !== null)
      .map(([key, value]) => [key, key === 'basic_auth_users' ? value : withoutEmpty(value)]),
  );
}

/** The index of a list is a number in the document, and a text in the path of an error. */
function pathOf(document: Document, keys: readonly string[]): (string | number)[] {
  return keys.map((key, index) => {
    const parent: unknown = index === 0 ? undefined : document.getIn(keys.slice(0, index), true);
    return isSeq(parent) ? Number(key) : key;
  });
}

function unescaped(key: string): string {
  return key.replaceAll('~1', '/').replaceAll('~0', '~');
}
