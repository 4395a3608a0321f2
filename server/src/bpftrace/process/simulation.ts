import type { Faults } from '../../lib/faults.ts';
import { isEvent } from '../../protocol/decode.ts';
import { type StreamLine, streamLine } from '../../protocol/stream-line.ts';

/** No version of bpftrace prints this line, and the decoder rejects it. */
const MALFORMED = streamLine('{"type": "value", "data": [simulated');

export interface SimulationOptions {
  faults: Faults;
  bootUs: () => number;
}

/**
 * Injects faults between a child and its reader. Deterministic: the same lines at the same times give the same faults.
 */
export class Simulation {
  readonly #options: SimulationOptions;
  #since: number | null = null;
  #inserted = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
  }

  /** The faults of one child. To be called when the child starts. */
  child(): ChildFaults {
    const { faults, bootUs } = this.#options;
    const startedAt = bootUs();
    let lossDue = 0;
    return {
      pass: (line) => {
        const malformed = new Array<StreamLine>(this.#malformedDue()).fill(MALFORMED);
        if (faults.loss === null || !isEvent(line.record)) return [line, ...malformed];
        lossDue += faults.loss;
        // In floating point, ten times 0.1 is a little less than 1.
        if (lossDue < 1 - 1e-9) return [line, ...malformed];
        lossDue -= 1;
        return malformed;
      },
      crashes: () => faults.crashUs !== null && bootUs() - startedAt >= faults.crashUs,
    };
  }

  #malformedDue(): number {
    const { faults, bootUs } = this.#options;
    if (faults.malformed === null) return 0;
    const now = bootUs();
    this.#since ??= now;
    const { count, periodUs } = faults.malformed;
    const due = Math.floor(((now - this.#since) * count) / periodUs) - this.#inserted;
    this.#inserted += due;
    return due;
  }
}

export interface ChildFaults {
  /** The lines that the reader gets instead of this line. */
  pass(line: StreamLine): StreamLine[];
  /** Whether the child must be killed now. */
  crashes(): boolean;
}
