/** Why a source could not hand on a line that it saw. */
export type DroppedLine = 'oversized_line' | 'truncated_line';

/**
 * A source of stream lines: live collector, recording file or standard input. All three are the same to what follows.
 */
export interface LineSource {
  readonly kind: 'live' | 'replay';
  /** What to call it in the status: `bpftrace`, a file name, `-`. */
  readonly name: string;
  /**
   * Hands every line, without its line feed, to `onLine`, in order. Resolves when the source has ended (a replay at its
   * end, a live source after stop), rejects with a TracerError when it cannot go on. A source that splits lines itself
   * tells `onDropped` of each line it could not hand on; one that does not may leave the parameter out.
   */
  run(
    onLine: (line: string) => void,
    signal: AbortSignal,
    onDropped?: (why: DroppedLine) => void,
  ): Promise<void>;
}
