import { didYouMean } from '../../lib/suggest.ts';
import {
  CAUSES,
  DURATION_BUCKETS,
  PRIVACIES,
  READERS,
  REASONS,
  ROUTES,
  STAGES,
  UNKNOWN_VM_KIND,
  VIOLATIONS,
  VM_KINDS,
  WALKED_ATTACHMENTS,
} from '../../protocol/codes.ts';
import { TAGS } from '../../protocol/tuples.ts';
import { linesOf } from './source.ts';
import { sourceError } from './source-error.ts';

/** Values of the names in capital letters that the fragments use, as bpftrace text. */
export type Constants = ReadonlyMap<string, string>;

/** Later than any time of any clock. */
export const NEVER = '0x7fffffffffffffff';

/** The only constant that depends on the host. */
export const PAGE_SIZE = 'PAGE_SIZE';

/** The constants that follow from the codes of the stream. */
export const CODE_CONSTANTS: Constants = new Map([
  ...Object.entries(TAGS).map(([name, tag]) => [constantName('tag', name), String(tag)] as const),
  ...enumerate('stage', STAGES),
  ...enumerate('reason', REASONS),
  ...enumerate('privacy', PRIVACIES),
  ...enumerate('cause', CAUSES),
  ...enumerate('reader', READERS),
  ...enumerate('violation', VIOLATIONS),
  ...enumerate('route', ROUTES),
  ...enumerate('vm_kind', VM_KINDS),
  ['VM_KIND_UNKNOWN', String(UNKNOWN_VM_KIND)],
  ['LAST_BUCKET', String(DURATION_BUCKETS - 1)],
  ['WALKED_ATTACHMENTS', String(WALKED_ATTACHMENTS)],
  ['NEVER', NEVER],
]);

function enumerate(prefix: string, names: readonly string[]): [name: string, value: string][] {
  return names.map((name, number) => [constantName(prefix, name), String(number)]);
}

function constantName(prefix: string, name: string): string {
  return `${prefix}_${name}`.toUpperCase();
}

const DEFINITION = /^#define ([A-Z][A-Z0-9_]+) (?:"([^"]+)"|(0x[0-9a-f]+|\d+))$/;
const FILE_OF_CONSTANTS = 'probes/prelude/constants.h';

/**
 * Parses `#define NAME 1`, `#define NAME 0x1` and `#define NAME "text"`. Other lines are empty or comments.
 * @throws TracerError with file and line
 */
export function parseConstants(source: string, file = FILE_OF_CONSTANTS): Constants {
  const constants = new Map(CODE_CONSTANTS);
  for (const { line, where } of linesOf({ file, text: source, firstLine: 1 })) {
    if (line === '' || line.startsWith('//')) continue;
    const [, name, text, number] = DEFINITION.exec(line) ?? [];
    if (name === undefined) {
      const remedy = 'write #define NAME 19 or #define NAME "kvm"';
      throw sourceError(`"${line}" does not define a constant`, where, remedy);
    }
    if (constants.has(name) || name === PAGE_SIZE) {
      throw sourceError(`the constant ${name} is defined twice`, where, 'keep one of them');
    }
    constants.set(name, number ?? packed(text ?? ''));
  }
  return constants;
}

/** The first 8 bytes of a name, as the number that the kernel reads there on a little-endian machine. */
function packed(name: string): string {
  return `0x${Buffer.from(name, 'latin1').subarray(0, 8).reverse().toString('hex')}`.replace(/^0x0+/, '0x');
}

/** Strings, placeholders and comments are skipped. Members, variables and maps are not constants. */
const WORD = /"(?:[^"\\]|\\.)*"|\{\{[^{}]*\}\}|\/\/.*|(?<!->|[\w$@.])([A-Z][A-Z0-9_]+)\b/g;
const BPFTRACE_WORDS: readonly string[] = ['BEGIN', 'END'];

/**
 * Replaces the names of constants in a line by their values.
 * @throws TracerError if a word in capital letters is not a constant
 */
export function replaceConstants(line: string, constants: Constants, where: string): string {
  return line.replace(WORD, (text: string, name: string | undefined) => {
    if (name === undefined || BPFTRACE_WORDS.includes(name)) return text;
    const value = constants.get(name);
    if (value === undefined) {
      const remedy = didYouMean(name, [...constants.keys()], `define it in ${FILE_OF_CONSTANTS}`);
      throw sourceError(`there is no constant ${name}`, where, remedy);
    }
    return value;
  });
}
