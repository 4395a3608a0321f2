const started = Date.now();

/** Prints a line with the seconds since the start of this program. */
export function log(line: string): void {
  console.log(`${String(Math.round((Date.now() - started) / 1000)).padStart(4)} s  ${line}`);
}
