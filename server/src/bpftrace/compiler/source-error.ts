import { TracerError } from '../../lib/errors.ts';

/** An error in a file of probes/: what is wrong, file and line, and the fix. */
export function sourceError(
  message: string,
  where: string,
  remedy: string = 'see probes/README.md',
): TracerError {
  return new TracerError('invariant_broken', message, { where, remedy });
}
