/** The body of a fragment or snippet, and the number of its first line in the file. */
export interface Source {
  file: string;
  text: string;
  firstLine: number;
}

/** The lines of a source, each with its place for messages: `probes/attach.bt:3`. */
export function* linesOf({ file, text, firstLine }: Source): Generator<{ line: string; where: string }> {
  for (const [index, line] of text.split('\n').entries()) {
    yield { line, where: `${file}:${firstLine + index}` };
  }
}
