/** A token bucket: `burst` requests at once, then one for each interval. */
export class TokenBucket {
  readonly #intervalMs: number;
  readonly #burst: number;
  #tokens: number;
  #atMs: number;

  constructor({ intervalMs, burst }: { intervalMs: number; burst: number }, nowMs: number) {
    this.#intervalMs = intervalMs;
    this.#burst = burst;
    this.#tokens = burst;
    this.#atMs = nowMs;
  }

  /** Whether a request may pass now; it then takes a token. `nowMs` comes from a clock that does not step. */
  take(nowMs: number): boolean {
    const added = (nowMs - this.#atMs) / this.#intervalMs;
    this.#tokens = Math.min(this.#burst, this.#tokens + added);
    this.#atMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
