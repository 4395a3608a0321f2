import { neutralJson, neutralLines } from '../lib/neutral.ts';
import { writeAll } from '../lib/write-all.ts';

/**
 * Every command prints through this file; a test enforces it. Texts can come from other programs, files or servers. Their control
 * characters are replaced, so a terminal interprets only the colors that this file adds.
 */

/** A text, optionally with the parameters of an SGR sequence (`1;31`). */
export type Span = string | { readonly text: string; readonly sgr: string };

/** Renders spans for a terminal. */
export function styled(spans: readonly Span[]): string {
  return spans
    .map((span) => {
      if (typeof span === 'string') return neutralLines(span);
      const text = neutralLines(span.text);
      return span.sgr === '' || text === '' ? text : `\x1b[${span.sgr}m${text}\x1b[0m`;
    })
    .join('');
}

/** Prints text. Resolves when the stream has accepted it. */
export function print(stream: NodeJS.WritableStream, ...spans: readonly Span[]): Promise<void> {
  return writeAll(stream, styled(spans));
}

/** Prints JSON of one or more lines and adds the last line feed. */
export function printJson(stream: NodeJS.WritableStream, json: string): Promise<void> {
  return writeAll(stream, `${neutralJson(json)}\n`);
}

/** Prints data unchanged, except on a terminal, where control characters are replaced. */
export function printData(stream: NodeJS.WritableStream & { isTTY?: boolean }, text: string): Promise<void> {
  return writeAll(stream, stream.isTTY === true ? neutralLines(text) : text);
}

/** Prints a note to standard error without waiting. Ignores errors, because stderr may have no reader. */
export function note(stderr: NodeJS.WritableStream, text: string): void {
  void print(stderr, `vfio-dmabuf-tracer: ${text}\n`).catch(() => {});
}
