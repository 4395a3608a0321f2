/**
 * A source of stream lines: live collector, recording file or standard input. All three are the same to what follows.
 */
export interface LineSource {
  readonly kind: 'live' | 'replay';
  /** What to call it in the status: `bpftrace`, a file name, `-`. */
  readonly name: string;
  /**
   * Hands every line, without its line feed, to `onLine`, in order. Resolves when the source has ended (a replay at its
   * end, a live source after stop), rejects with a TracerError when it cannot go on.
   */
  run(onLine: (line: string) => void, signal: AbortSignal): Promise<void>;
}
