import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { TracerError } from '../lib/errors.ts';
import { VERSION } from '../lib/package-version.ts';
import type { ProbeFacts, Wanted } from './compiler/compose.ts';
import type { HostFacts } from './facts.ts';

/** The facts of a host from which its program follows, and how people name the host's kernel. */
export interface KernelFacts extends ProbeFacts {
  kernel: string;
}

const FORMAT = 'vfio-dmabuf-tracer facts';
const FORMAT_VERSION = 1;

/** A name that was looked up and does not exist is null. So a name that is absent was not looked up. */
const FactsFile = Type.Object({
  format: Type.Literal(FORMAT),
  version: Type.Literal(FORMAT_VERSION),
  tracer: Type.String(),
  kernel: Type.String(),
  // The rest becomes part of the program, so it can be nothing but names and numbers.
  bpftrace: Type.Union([Type.String({ pattern: '^\\d{1,6}(\\.\\d{1,6}){0,3}$' }), Type.Null()]),
  page_bytes: Type.Integer({ minimum: 1, maximum: 2 ** 30 }),
  modules: Type.Array(Type.String({ pattern: '^[\\w-]+$' })),
  functions: Type.Record(Type.String(), Type.Union([Type.String({ pattern: '^[\\w-]+$' }), Type.Null()])),
  untraceable: Type.Array(Type.String()),
  members: Type.Record(
    Type.String(),
    Type.Union([Type.Integer({ minimum: 0, maximum: 2 ** 32 }), Type.Null()]),
  ),
});
type FactsFile = Static<typeof FactsFile>;
const validator = Compile(FactsFile);

/** The facts as JSON: names, versions and offsets in structs, but no address, process or device of the host. */
export function formatFacts(facts: HostFacts, wanted: Wanted): string {
  const file: FactsFile = {
    format: FORMAT,
    version: FORMAT_VERSION,
    tracer: VERSION,
    kernel: facts.kernel,
    bpftrace: facts.bpftraceVersion?.join('.') ?? null,
    page_bytes: facts.pageBytes,
    modules: [...facts.modules],
    functions: Object.fromEntries(wanted.functions.map((name) => [name, facts.functions[name] ?? null])),
    untraceable: [...facts.untraceable],
    members: Object.fromEntries(wanted.members.map((path) => [path, facts.members[path] ?? null])),
  };
  return `${JSON.stringify(file, null, 2)}\n`;
}

/**
 * Parses a file of facts.
 *
 * @param path of the file, for messages
 * @param wanted the names that the fragments of this version need
 * @throws TracerError `bad_facts`
 */
export function parseFacts(text: string, path: string, wanted: Wanted): KernelFacts {
  const file = readFile(text, path);
  const unknown = [
    ...wanted.functions.filter((name) => !Object.hasOwn(file.functions, name)),
    ...wanted.members.filter((name) => !Object.hasOwn(file.members, name)),
  ];
  if (unknown.length > 0) {
    const more = unknown.length > 1 ? ` and ${unknown.length - 1} more` : '';
    throw bad(
      `the file does not record whether the host has ${unknown[0]}${more}: version ${file.tracer} of the program wrote it`,
      path,
      `write it again with version ${VERSION}, which this is`,
    );
  }
  return {
    kernel: file.kernel,
    functions: existing(file.functions, wanted.functions),
    untraceable: file.untraceable,
    members: existing(file.members, wanted.members),
    pageBytes: file.page_bytes,
    modules: file.modules,
    bpftraceVersion: file.bpftrace?.split('.').map(Number) ?? null,
  };
}

function readFile(text: string, path: string): FactsFile {
  const remedy = 'write the file on the other host with `vfio-dmabuf-tracer doctor --facts-out FILE`';
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw bad(`the file of facts is not JSON: ${(cause as Error).message}`, path, remedy);
  }
  if (validator.Check(value)) return value;
  const { format, version, tracer } = Object(value) as Record<string, unknown>;
  if (format !== FORMAT) throw bad('this is not a file of facts', path, remedy);
  if (version !== FORMAT_VERSION) {
    const message = `the format of the file has version ${JSON.stringify(version)}, and this program reads ${FORMAT_VERSION}`;
    throw bad(message, path, `use version ${JSON.stringify(tracer)} of the program, which wrote it`);
  }
  const [error] = validator.Errors(value);
  throw bad(`the file of facts is wrong: ${error?.message}`, `${path}: ${error?.instancePath}`, remedy);
}

function existing<T>(
  found: Readonly<Record<string, T | null>>,
  wanted: readonly string[],
): Record<string, T> {
  return Object.fromEntries(
    wanted.flatMap((name) => {
      const value = found[name] ?? null;
      return value === null ? [] : [[name, value] as const];
    }),
  );
}

function bad(message: string, where: string, remedy: string): TracerError {
  return new TracerError('bad_facts', message, { where, remedy });
}
