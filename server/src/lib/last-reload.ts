/** The result of the last reload of a file. The first read, at the start, counts too. */
export interface LastReload {
  successful: boolean;
  /** Wall clock of the last successful one, in milliseconds since 1970. */
  successMs: number;
}
