import { errnoOf } from '../lib/errno.ts';
import type { CollectorLine, HostSource } from '../protocol/wire.ts';

const MESSAGE_LENGTH = 200;

/** Called for each failed read of the host, except if the file or process does not exist. */
export type OnHostError = (source: HostSource, error: unknown) => void;

/** Counts failed reads of the host, cumulative for each source, and reports counts that have grown. */
export class HostErrors {
  readonly #counts = new Map<HostSource, { count: number; reported: number; message: string }>();

  readonly note: OnHostError = (source, error) => {
    const known = this.#counts.get(source) ?? { count: 0, reported: 0, message: '' };
    known.count += 1;
    known.message = describeError(error);
    this.#counts.set(source, known);
  };

  /** Emits a line for each source that has failed since the last report. `t` is in microseconds since boot. */
  report(t: number, emit: (line: CollectorLine) => void): void {
    for (const [source, known] of this.#counts) {
      if (known.count === known.reported) continue;
      known.reported = known.count;
      emit({ type: 'host_error', data: { t, source, count: known.count, message: known.message } });
    }
  }
}

/** `EMFILE: /proc/1/stat`, bounded. */
export function describeError(error: unknown): string {
  const { path, message } = error as NodeJS.ErrnoException;
  const where = path ?? message ?? String(error);
  return `${errnoOf(error)}: ${where}`.slice(0, MESSAGE_LENGTH);
}
