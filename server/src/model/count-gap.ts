/**
 * Whether counts are missing because the stream has a gap. The counters are cumulative, so the first read after a gap
 * repeats them. Only the last counts of a child that ended in the gap are never read.
 */
export class CountGap {
  /** Counts are missing, so the counters are lower bounds. */
  hasMissed = false;
  #isOpen = false;

  /** Lines are missing here. */
  begin(): void {
    this.#isOpen = true;
  }

  /** The counters were read. */
  read(): void {
    this.#isOpen = false;
  }

  /** A child has started or ended. */
  childChanged(): void {
    this.hasMissed ||= this.#isOpen;
    this.#isOpen = false;
  }
}
