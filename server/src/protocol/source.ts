/** Why a source dropped a line. */
export type DroppedLine = 'oversized_line' | 'truncated_line';

/**
 * A source of stream lines: live collector, recording file or standard input. Its readers do not depend on which one it
 * is.
 */
export interface LineSource {
  readonly kind: 'live' | 'replay';
  /** Name of the source in the status: `bpftrace`, a file name, or `-`. */
  readonly name: string;
  /**
   * Calls `onLine` with every line in order, without its line feed. Resolves when the source has ended: a replay at the
   * end of its file, a live source after the abort. Rejects with a TracerError if the source fails. A source that
   * splits bytes into lines calls `onDropped` for each line that it drops; other sources may ignore that parameter.
   */
  run(
    onLine: (line: string) => void,
    signal: AbortSignal,
    onDropped?: (why: DroppedLine) => void,
  ): Promise<void>;
}
