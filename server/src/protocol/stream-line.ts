import { type DecodeFailure, decodeLine, type StreamRecord } from './decode.ts';
import { maskAddresses } from './mask.ts';
import { TAGS } from './tuples.ts';

/** One line of the stream: its text as it is recorded, and what the text decodes to. */
export interface StreamLine {
  readonly raw: string;
  readonly record: StreamRecord | DecodeFailure;
}

/** The record types that probes print, in lines of type `value`. */
const VALUES: ReadonlySet<string> = new Set(Object.keys(TAGS));

/** Decodes a line where it enters the process. */
export function streamLine(raw: string): StreamLine {
  return { raw, record: decodeLine(raw) };
}

/**
 * Decodes a line of bpftrace, and masks kernel addresses in its messages. Lines of probes stay unchanged, because their
 * numbers may look like addresses.
 */
export function childLine(line: string): StreamLine {
  const read = streamLine(line);
  if (VALUES.has(read.record.type)) return read;
  const raw = maskAddresses(line);
  // A replay sees only the masked text, so the record must come from it.
  return raw === line ? read : streamLine(raw);
}
