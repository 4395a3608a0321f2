import { describeError, type OnReadError } from '../lib/errno.ts';
import type { CollectorLine, HostSource } from '../protocol/wire.ts';

/** Counts failed reads of the host, cumulative for each source, and reports counts that have grown. */
export class HostErrors {
  readonly #counts = new Map<HostSource, { count: number; reported: number; message: string }>();

  note(source: HostSource, error: unknown): void {
    const known = this.#counts.get(source) ?? { count: 0, reported: 0, message: '' };
    known.count += 1;
    known.message = describeError(error);
    this.#counts.set(source, known);
  }

  /** A listener that notes each error of one source. */
  of(source: HostSource): OnReadError {
    return (error) => this.note(source, error);
  }

  /** Emits a line for each source that has failed since the last report. `t` is in microseconds since boot. */
  report(t: number, emit: (line: CollectorLine) => void): void {
    for (const [source, known] of this.#counts) {
      if (known.count === known.reported) continue;
      known.reported = known.count;
      emit({ type: 'host_error', data: { t, source, count: known.count, message: known.message } });
    }
  }
}
