import type { DroppedLine } from './splitter.ts';
import type { StreamLine } from './stream-line.ts';

/**
 * A source of stream lines: live collector, recording file or standard input. Its readers do not depend on which one it
 * is.
 */
export interface LineSource {
  readonly kind: 'live' | 'replay';
  /** Name of the source in the status: `bpftrace`, a file name, or `-`. */
  readonly name: string;
  /**
   * Calls `onLine` with every line in order, without its line feed and decoded once. Resolves when the source has ended:
   * a replay at the end of its file, a live source after the abort. Rejects with a TracerError if the source fails. A
   * source that splits bytes into lines calls `onDropped` for each line that it drops; other sources may ignore that
   * parameter.
   */
  run(
    onLine: (line: StreamLine) => void,
    signal: AbortSignal,
    onDropped?: (why: DroppedLine) => void,
  ): Promise<void>;
}

/** The source of the collector itself: it can be asked for a new snapshot. */
export interface LiveSource extends LineSource {
  /**
   * Requests a snapshot, because a reader of the stream has missed lines. It is taken soon, but at most each 30 s. Does
   * nothing while no child runs.
   */
  requestSnapshot(): void;
}

/** The same source; `observe` gets each line after its reader has processed it. */
export function observed(source: LineSource, observe: (line: StreamLine) => void): LineSource {
  return {
    kind: source.kind,
    name: source.name,
    run: (onLine, signal, onDropped) =>
      source.run(
        (line) => {
          onLine(line);
          observe(line);
        },
        signal,
        onDropped,
      ),
  };
}
