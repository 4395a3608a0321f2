import type { Dialect } from '../../stream/wire.ts';
import { DIALECTS } from '../../stream/wire.ts';
import { TracerError } from '../../support/errors.ts';

/** What a condition is asked about: the part of the host's facts that a probe may depend on. */
export interface ConditionFacts {
  /** Module of a traceable function (`vmlinux` for the kernel itself), undefined where no loaded module has it. */
  moduleOf(name: string): string | undefined;
  /** Whether `struct.member` exists. */
  hasMember(path: string): boolean;
  readonly dialect: Dialect;
  /** `[0, 23, 2]`, or null where no bpftrace was found. */
  readonly bpftrace: readonly number[] | null;
}

export type Term =
  | { kind: 'function'; negated: boolean; names: string[] }
  | { kind: 'member'; negated: boolean; names: string[] }
  | { kind: 'dialect'; negated: boolean; names: string[] }
  | { kind: 'bpftrace'; negated: boolean; version: number[] };

const IDENTIFIER = /^[A-Za-z_]\w*$/;
const MEMBER = /^[A-Za-z_]\w*\.[A-Za-z_]\w*$/;
const VERSION = /^bpftrace\s*>=\s*(\d+(?:\.\d+)*)$/;

/** Parses `a|b, !struct.member, dialect:x, bpftrace>=0.24`: all terms must hold. Throws with `where`. */
export function parseCondition(text: string, where: string): Term[] {
  return text.split(',').map((part) => parseTerm(part.trim(), where));
}

function parseTerm(source: string, where: string): Term {
  const negated = source.startsWith('!');
  const text = negated ? source.slice(1).trim() : source;
  const version = VERSION.exec(text)?.[1];
  if (version !== undefined) return { kind: 'bpftrace', negated, version: version.split('.').map(Number) };
  if (text.startsWith('dialect:')) {
    const names = alternatives(text.slice('dialect:'.length));
    if (names.every((name) => (DIALECTS as readonly string[]).includes(name))) {
      return { kind: 'dialect', negated, names };
    }
  } else {
    const names = alternatives(text.startsWith('fn:') ? text.slice('fn:'.length) : text);
    if (names.every((name) => IDENTIFIER.test(name))) return { kind: 'function', negated, names };
    if (names.every((name) => MEMBER.test(name))) return { kind: 'member', negated, names };
  }
  throw new TracerError('invariant_broken', `the condition "${source}" cannot be understood`, {
    where,
    remedy: 'write fn:NAME, struct.member, dialect:NAME or bpftrace>=0.24',
  });
}

function alternatives(text: string): string[] {
  return text.split('|').map((name) => name.trim());
}

/** Why the condition does not hold on this host, as a phrase for people; null where it holds. */
export function whyNot(terms: readonly Term[], facts: ConditionFacts): string | null {
  for (const term of terms) {
    if (holds(term, facts) === term.negated) return describe(term, facts);
  }
  return null;
}

function holds(term: Term, facts: ConditionFacts): boolean {
  switch (term.kind) {
    case 'function':
      return term.names.some((name) => facts.moduleOf(name) !== undefined);
    case 'member':
      return term.names.some((name) => facts.hasMember(name));
    case 'dialect':
      return term.names.includes(facts.dialect);
    case 'bpftrace':
      return facts.bpftrace !== null && compareVersions(facts.bpftrace, term.version) >= 0;
    default:
      return term satisfies never;
  }
}

function describe(term: Term, facts: ConditionFacts): string {
  switch (term.kind) {
    case 'function': {
      const names = term.names.join(' or ');
      if (term.negated) return `function ${names} exists`;
      return term.names.length === 1
        ? `function ${names} is in no loaded module`
        : `none of the functions ${names} is in a loaded module`;
    }
    case 'member': {
      const names = term.names.join(' or ');
      return term.negated ? `the kernel has ${names}` : `the kernel has no ${names}`;
    }
    case 'dialect':
      return `the dialect of this kernel is ${facts.dialect}${term.negated ? '' : `, not ${term.names.join(' or ')}`}`;
    case 'bpftrace':
      return `bpftrace is ${facts.bpftrace?.join('.') ?? 'not there'}, ${term.negated ? 'before' : 'at least'} ${term.version.join('.')} is needed`;
    default:
      return term satisfies never;
  }
}

/** Negative, zero or positive as `a` is older, equal or newer; a missing part counts as 0. */
export function compareVersions(a: readonly number[], b: readonly number[]): number {
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
