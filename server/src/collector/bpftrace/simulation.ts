import type { Faults } from '../../support/faults.ts';
import { isEvent } from './line-reader.ts';

/** What no version of bpftrace prints, and what no decoder takes. */
const MALFORMED = '{"type": "value", "data": [simulated';

export interface SimulationOptions {
  faults: Faults;
  bootUs: () => number;
}

/** Faults between a child and its reader. It has no chance in it: the same lines at the same times lose the same. */
export class Simulation {
  readonly #options: SimulationOptions;
  #since: number | null = null;
  #inserted = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
  }

  /** The faults of one child, from its start. */
  child(): ChildFaults {
    const { faults, bootUs } = this.#options;
    const startedAt = bootUs();
    let owed = 0;
    return {
      pass: (line) => {
        const malformed = new Array<string>(this.#malformedDue()).fill(MALFORMED);
        if (faults.loss === null || !isEvent(line)) return [line, ...malformed];
        owed += faults.loss;
        // Ten times a tenth is a little less than one.
        if (owed < 1 - 1e-9) return [line, ...malformed];
        owed -= 1;
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
  /** What the reader gets in place of this line. */
  pass(line: string): string[];
  /** Whether the child is to be killed by now. */
  crashes(): boolean;
}
