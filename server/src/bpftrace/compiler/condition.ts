import { didYouMean } from '../../lib/suggest.ts';
import { compareVersions } from '../../lib/versions.ts';
import type { Dialect } from '../../protocol/wire.ts';
import { DIALECTS } from '../../protocol/wire.ts';
import { linesOf } from './source.ts';
import { sourceError } from './source-error.ts';

/** The facts of the host that a condition can test. */
export interface ConditionFacts {
  /** Module of a traceable function (`vmlinux` for the kernel itself); undefined if no loaded module has it. */
  moduleOf(name: string): string | undefined;
  /** Whether the function exists but the kernel does not allow tracing it. */
  isUntraceable(name: string): boolean;
  /** Whether the module is loaded; false for code that is built into the kernel. */
  hasModule(name: string): boolean;
  /** Offset of `struct.member` in bits; undefined if neither the kernel nor a loaded module has it. */
  bitsOf(path: string): number | undefined;
  readonly dialect: Dialect;
  /** Whether a line that is kept writes the map: `@bind_start`. */
  isWritten(map: string): boolean;
  /** `[0, 23, 2]`, or null if no bpftrace was found. */
  readonly bpftrace: readonly number[] | null;
}

type Atom =
  | { kind: 'function'; name: string }
  | { kind: 'member'; name: string }
  | { kind: 'module'; name: string }
  | { kind: 'dialect'; name: string }
  | { kind: 'bpftrace'; name: string; version: number[] }
  | { kind: 'map'; name: string }
  | { kind: 'named'; name: string; terms: readonly Term[] };

/** True if at least one of its atoms is true; negated: if none is. */
export interface Term {
  negated: boolean;
  atoms: Atom[];
}

/** Conditions that the fragments use as `has:NAME`. */
export type Conditions = ReadonlyMap<string, readonly Term[]>;

const IDENTIFIER = /^[A-Za-z_]\w*$/;
const MEMBER = /^[A-Za-z_]\w*\.[A-Za-z_]\w*$/;
const MAP = /^@\w+$/;
const VERSION = /^bpftrace\s*>=\s*(\d+(?:\.\d+)*)$/;

const FILE_OF_CONDITIONS = 'probes/prelude/conditions.txt';
const DEFINITION = /^([a-z][a-z-]*): (.+)$/;

/**
 * Parses lines of `NAME: CONDITION`; a condition may use those above it. Other lines are empty or comments.
 * @throws TracerError with file and line
 */
export function parseConditions(source: string, file = FILE_OF_CONDITIONS): Conditions {
  const conditions = new Map<string, readonly Term[]>();
  for (const { line, where } of linesOf({ file, text: source, firstLine: 1 })) {
    if (line === '' || line.startsWith('//')) continue;
    const [, name, text = ''] = DEFINITION.exec(line) ?? [];
    if (name === undefined || conditions.has(name)) {
      const problem =
        name === undefined ? `"${line}" does not define a condition` : `"${name}" is defined twice`;
      throw sourceError(problem, where, 'write one line NAME: CONDITION');
    }
    conditions.set(name, parseCondition(text, where, conditions));
  }
  return conditions;
}

/**
 * Parses `fn:a|b, !struct.member, module:x, dialect:x, bpftrace>=0.24, @map, has:x`. The condition is met if all terms
 * are true.
 *
 * @param where place of the text, for the error: `probes/attach.bt:3`
 * @param named the conditions that `has:` may name
 * @throws TracerError with its place and the fix
 */
export function parseCondition(text: string, where: string, named: Conditions = new Map()): Term[] {
  return text.split(',').map((part) => {
    const source = part.trim();
    const negated = source.startsWith('!');
    const alternatives = (negated ? source.slice(1) : source).split('|').map((text) => text.trim());
    const atoms: Atom[] = [];
    for (const alternative of alternatives) {
      const atom = alternative.startsWith('has:')
        ? namedAtom(alternative.slice('has:'.length), where, named)
        : parseAtom(alternative, atoms.at(-1)?.kind === 'dialect');
      if (atom === null) {
        const remedy =
          'write fn:NAME, struct.member, module:NAME, dialect:NAME, bpftrace>=0.24, @MAP or has:NAME';
        throw sourceError(`the condition "${source}" is not valid`, where, remedy);
      }
      atoms.push(atom);
    }
    if (negated && dependsOnMap({ negated, atoms })) {
      const remedy =
        'leave out the "!": a line that is kept because a map is not written could write the map';
      throw sourceError(`the condition "${source}" negates a map`, where, remedy);
    }
    return { negated, atoms };
  });
}

function dependsOnMap({ atoms }: Term): boolean {
  return atoms.some(
    (atom) => atom.kind === 'map' || (atom.kind === 'named' && atom.terms.some(dependsOnMap)),
  );
}

function namedAtom(name: string, where: string, named: Conditions): Atom {
  const terms = named.get(name);
  if (terms === undefined) {
    const remedy = didYouMean(name, [...named.keys()], `add it to ${FILE_OF_CONDITIONS}`);
    throw sourceError(`there is no condition "${name}"`, where, remedy);
  }
  return { kind: 'named', name, terms };
}

/** `afterDialect`: the previous alternative was a dialect, so a name without prefix is a dialect too. */
function parseAtom(text: string, afterDialect: boolean): Atom | null {
  const version = VERSION.exec(text)?.[1];
  if (version !== undefined)
    return { kind: 'bpftrace', name: version, version: version.split('.').map(Number) };
  if (MAP.test(text)) return { kind: 'map', name: text };
  const [, prefix, name = ''] = /^(?:(fn|module|dialect):)?(.*)$/.exec(text) ?? [];
  if (prefix === 'dialect' || (prefix === undefined && afterDialect)) {
    return (DIALECTS as readonly string[]).includes(name) ? { kind: 'dialect', name } : null;
  }
  if (IDENTIFIER.test(name)) return { kind: prefix === 'module' ? 'module' : 'function', name };
  return prefix === undefined && MEMBER.test(name) ? { kind: 'member', name } : null;
}

/** Why this host does not meet the condition, as a phrase for people; null if it does. */
export function explainUnmet(terms: readonly Term[], facts: ConditionFacts): string | null {
  for (const term of terms) {
    if (term.atoms.some((atom) => isTrue(atom, facts)) === term.negated) return describe(term, facts);
  }
  return null;
}

function isTrue(atom: Atom, facts: ConditionFacts): boolean {
  switch (atom.kind) {
    case 'function':
      return facts.moduleOf(atom.name) !== undefined;
    case 'member':
      return facts.bitsOf(atom.name) !== undefined;
    case 'module':
      return facts.hasModule(atom.name);
    case 'dialect':
      return atom.name === facts.dialect;
    case 'bpftrace':
      return facts.bpftrace !== null && compareVersions(facts.bpftrace, atom.version) >= 0;
    case 'map':
      return facts.isWritten(atom.name);
    case 'named':
      return explainUnmet(atom.terms, facts) === null;
    default:
      return atom satisfies never;
  }
}

function describe(term: Term, facts: ConditionFacts): string {
  const [first] = term.atoms;
  if (first?.kind === 'named') {
    return explainUnmet(first.terms, facts) ?? `the kernel has all that "${first.name}" needs`;
  }
  const kinds = new Set(term.atoms.map((atom) => atom.kind));
  const names = term.atoms.map((atom) => atom.name);
  if (kinds.has('dialect')) {
    return `the dialect of this kernel is ${facts.dialect}${term.negated ? '' : `, not ${names.join(' or ')}`}`;
  }
  if (kinds.has('bpftrace')) {
    return `bpftrace is ${facts.bpftrace?.join('.') ?? 'missing'}, ${term.negated ? 'older than' : 'at least'} ${names.join(' or ')} is needed`;
  }
  if (kinds.has('map')) return `no probe that is attached writes ${names.join(' or ')}`;
  if (kinds.has('module')) return `module ${names.join(' or ')} is ${term.negated ? '' : 'not '}loaded`;
  if (term.negated) return `the kernel has ${names.join(' or ')}`;
  if (kinds.has('member')) return `neither the kernel nor a loaded module has ${names.join(' or ')}`;
  const untraceable = names.find((name) => facts.isUntraceable(name));
  if (untraceable !== undefined)
    return `function ${untraceable} exists, but the kernel does not allow tracing it`;
  return names.length === 1
    ? `function ${names[0]} is in no loaded module`
    : `none of the functions ${names.join(', ')} is in a loaded module`;
}
