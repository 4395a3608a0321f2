import { neutralJson, neutralLines } from '../support/neutral.ts';
import { writeAll } from '../support/write-all.ts';

/**
 * Every command prints through this file, and a test keeps it so: whatever other programs, files or servers have put into a text, a
 * terminal obeys only the colours that are asked for here.
 */

/** A text, or one with the parameters of its SGR sequence (`1;31`). */
export type Span = string | { readonly text: string; readonly sgr: string };

/** What is sent to a terminal for these spans. */
export function styled(spans: readonly Span[]): string {
  return spans
    .map((span) => {
      if (typeof span === 'string') return neutralLines(span);
      const text = neutralLines(span.text);
      return span.sgr === '' || text === '' ? text : `\x1b[${span.sgr}m${text}\x1b[0m`;
    })
    .join('');
}

/** Prints a text for people. Resolves when the stream has taken it. */
export function print(stream: NodeJS.WritableStream, ...spans: readonly Span[]): Promise<void> {
  return writeAll(stream, styled(spans));
}

/** Prints JSON, on one line or many, without its last line feed. */
export function printJson(stream: NodeJS.WritableStream, json: string): Promise<void> {
  return writeAll(stream, `${neutralJson(json)}\n`);
}

/** Prints data of which each byte counts: on a terminal as a text for people, else as it is. */
export function printData(stream: NodeJS.WritableStream & { isTTY?: boolean }, text: string): Promise<void> {
  return writeAll(stream, stream.isTTY === true ? neutralLines(text) : text);
}

/** A note to standard error, without waiting. Where nobody reads it any more, nobody misses it. */
export function note(stderr: NodeJS.WritableStream, text: string): void {
  void print(stderr, `vfio-dmabuf-tracer: ${text}\n`).catch(() => {});
}
