import type { TracerError } from '../../lib/errors.ts';
import type { Snippet } from './fragment-set.ts';
import { linesOf, type Source } from './source.ts';
import { sourceError } from './source-error.ts';

/**
 * The variables of a source, as bpftrace sees them: a variable ends with the block in which it is set first. Names are
 * without the `$`.
 */
export class Variables {
  readonly read = new Set<string>();
  readonly written = new Set<string>();
  readonly #snippets: ReadonlyMap<string, Snippet>;
  /** The variables that are set in each open block; the first is the source itself. */
  readonly #blocks: Set<string>[];
  readonly #used: Snippet[] = [];
  /** Variables that are set when the statement ends, because its right side is evaluated before. */
  #assigned: string[] = [];

  constructor(inputs: readonly string[], snippets: ReadonlyMap<string, Snippet>) {
    this.#blocks = [new Set(inputs)];
    this.#snippets = snippets;
  }

  /** @throws TracerError for a variable that is read before it is set, and an unknown snippet or one without its inputs */
  scan(source: Source): void {
    for (const { line, where } of linesOf(source)) {
      const code = line.replace(STRINGS_AND_COMMENTS, '');
      for (const [token, snippet, loop, name, assigns] of code.matchAll(TOKEN)) {
        if (snippet !== undefined) this.#use(snippet, where);
        else if (loop !== undefined) this.#assigned.push(loop);
        else if (name !== undefined && assigns !== undefined) this.#assigned.push(name);
        else if (name !== undefined) this.#read(name, where);
        else if (token === '{') this.#openBlock();
        else if (token === ';') this.#endStatement();
        else if (token === '}') this.#closeBlock();
      }
    }
  }

  isSet(name: string): boolean {
    return this.#blocks.some((block) => block.has(name));
  }

  #use(name: string, where: string): void {
    const snippet = snippetOf(name, this.#snippets, where);
    const missing = snippet.inputs.names.find((input) => !this.isSet(input));
    if (missing !== undefined) {
      const message = `the snippet "${name}" reads $${missing}, which is not set here`;
      throw sourceError(message, where, `set $${missing} before {{use:${name}}}`);
    }
    for (const input of snippet.inputs.names) this.read.add(input);
    this.#used.push(snippet);
    this.#assigned.push(...snippet.outputs.names);
    this.#endStatement();
  }

  #read(name: string, where: string): void {
    if (!this.isSet(name)) throw this.#unset(name, where);
    this.read.add(name);
  }

  #unset(name: string, where: string): TracerError {
    const owner = this.#used.findLast(({ text }) => new RegExp(`\\$${name}\\s*=(?!=)`).test(text));
    if (owner !== undefined) {
      const remedy = 'add it to `out` there, or set it here';
      return sourceError(`$${name} is not an output of ${owner.file}`, where, remedy);
    }
    const remedy = `set $${name} in this block, or use a snippet that sets it`;
    return sourceError(`$${name} is read, but not set before`, where, remedy);
  }

  #endStatement(): void {
    for (const name of this.#assigned) {
      this.written.add(name);
      if (!this.isSet(name)) this.#blocks.at(-1)?.add(name);
    }
    this.#assigned = [];
  }

  /** The variable of a loop is set inside the block of the loop. */
  #openBlock(): void {
    this.#blocks.push(new Set());
    this.#endStatement();
  }

  #closeBlock(): void {
    this.#endStatement();
    if (this.#blocks.length > 1) this.#blocks.pop();
  }
}

/** A use of a snippet, another placeholder, the variable of a loop, a variable that is set or read, and what ends a statement. */
const TOKEN = /\{\{\s*(?:use:([\w-]+))?[^{}]*\}\}|\bfor \(\$(\w+)|\$(\w+)(\s*=(?!=))?|[{};]/g;
const STRINGS_AND_COMMENTS = /"(?:[^"\\]|\\.)*"|\/\/.*/g;

/** The snippet that `{{use:NAME}}` names. */
export function snippetOf(name: string, snippets: ReadonlyMap<string, Snippet>, where: string): Snippet {
  const snippet = snippets.get(name);
  if (snippet !== undefined) return snippet;
  throw sourceError(`there is no snippet "${name}"`, where, `write probes/snippets/${name}.bt`);
}
