/**
 * Computes from the heartbeats of one child how many events the kernel's ring has lost. An event that is missing at one
 * heartbeat may still be in transit between two processors. Events that are missing at two heartbeats in a row are
 * lost.
 */
export class RingLoss {
  /** Events lost so far; never decreases. */
  lost = 0;
  #missing = 0;

  /** `missing`: events emitted up to this heartbeat and not received. Returns true if `lost` grew. */
  heartbeat(missing: number): boolean {
    const lost = Math.min(this.#missing, missing);
    this.#missing = missing;
    if (lost <= this.lost) return false;
    this.lost = lost;
    return true;
  }
}
