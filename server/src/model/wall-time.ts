/** Converts times of the stream, in microseconds since boot, to wall times. */
export class WallTime {
  /** The wall clock at t = 0 from the header, in microseconds since 1970. Later steps of the clock do not change it. */
  headerEpochUs = 0;
  #epochUs = 0;

  header(epochUs: number): void {
    this.headerEpochUs = epochUs;
    this.#epochUs = epochUs;
  }

  /** The wall clock was set. */
  stepped(epochUs: number): void {
    this.#epochUs = epochUs;
  }

  /** Seconds since 1970. */
  seconds(micros: number): number {
    return (this.#epochUs + micros) / 1e6;
  }

  /** ISO 8601 in UTC; 1970 for a time that no date can have. */
  readonly iso = (micros: number): string => {
    const date = new Date(Math.floor((this.#epochUs + micros) / 1000));
    return Number.isNaN(date.getTime()) ? new Date(0).toISOString() : date.toISOString();
  };
}
