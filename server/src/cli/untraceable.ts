import { TracerError } from '../lib/errors.ts';
import type { DecodeFailure, StreamRecord } from '../protocol/decode.ts';

/** The error of --strict if the line says that the host cannot be traced. */
export function untraceable(record: StreamRecord | DecodeFailure): TracerError | undefined {
  if (record.type !== 'child' || record.data.state !== 'unavailable') return undefined;
  const { message, remedy } = record.data;
  return new TracerError('host_untraceable', `this host cannot be traced: ${message}`, { remedy });
}
