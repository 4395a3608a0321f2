import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { STREAM_ID_LIMIT } from '../protocol/wire.ts';

/** The one line of JSON with which a reader begins: where it wants to continue. `{}` is a new reader. */
export const ReaderRequest = Type.Object({
  stream: Type.Optional(Type.String({ maxLength: STREAM_ID_LIMIT, description: 'id of the stream' })),
  next: Type.Optional(
    Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'number of the next line' }),
  ),
  state: Type.Optional(
    Type.Boolean({
      description: 'the reader has not got all lines of the last state, so it needs a new one',
    }),
  ),
});
export type ReaderRequest = Static<typeof ReaderRequest>;

/** The longest request in bytes, with its line feed. */
export const REQUEST_BYTES = 512;

/** Reads a request, given without its line feed. Null if it is not one. Ignores unknown fields. */
export function readRequest(text: string): ReaderRequest | null {
  try {
    const request: unknown = JSON.parse(text);
    return Value.Check(ReaderRequest, request) ? request : null;
  } catch {
    return null;
  }
}
