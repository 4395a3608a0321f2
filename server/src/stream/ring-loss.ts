/**
 * Tells from one child's heartbeats what the kernel's ring has lost. Missing at one heartbeat may still be on its way
 * between two processors; missing at two in a row is lost, however many more came in between.
 */
export class RingLoss {
  /** Lost so far; never goes back. */
  lost = 0;
  #missing = 0;

  /** `missing`: events emitted up to this heartbeat and not received. True where more are lost now than before. */
  heartbeat(missing: number): boolean {
    const lost = Math.min(this.#missing, missing);
    this.#missing = missing;
    if (lost <= this.lost) return false;
    this.lost = lost;
    return true;
  }
}
