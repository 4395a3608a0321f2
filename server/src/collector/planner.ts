import type { FragmentSet } from '../bpftrace/compiler/fragment-set.ts';
import type { HostFacts } from '../bpftrace/facts.ts';
import { composeForHost, type Plan } from '../bpftrace/plan.ts';
import type { Clock } from '../lib/clock.ts';
import { Exclusions, type ExclusionTiming } from './exclusions.ts';
import type { HostErrors } from './host-errors.ts';

export interface PlannerOptions {
  fragments: FragmentSet;
  inspect: () => Promise<HostFacts>;
  clock: Pick<Clock, 'bootUs'>;
  errors: Pick<HostErrors, 'note'>;
  timing: ExclusionTiming;
}

/** Finds the program that fits the host, without the fragments that bpftrace has rejected here. */
export class Planner {
  readonly exclusions: Exclusions;
  /** Whether the last `inspect` read everything. Otherwise it is not known which probes the program lacks. */
  isComplete = true;
  readonly #options: PlannerOptions;
  /** The last facts that were read without an error. */
  #facts: HostFacts | null = null;

  constructor(options: PlannerOptions) {
    this.#options = options;
    this.exclusions = new Exclusions(options.timing, () => options.clock.bootUs() / 1000);
  }

  /**
   * Inspects the host. If a read fails, for example for lack of descriptors or memory, the last complete facts are
   * used: facts with missing functions would remove probes from the program.
   */
  async inspect(): Promise<HostFacts> {
    const facts = await this.#read();
    this.isComplete = facts.errors === undefined;
    return this.#facts ?? facts;
  }

  compose(facts: HostFacts): Plan {
    return composeForHost(facts, this.#options.fragments, this.exclusions.reasons);
  }

  /** The plan for the host as it is now; null if it cannot be inspected. */
  async replan(): Promise<Plan | null> {
    const facts = await this.#read();
    return facts.errors === undefined ? this.compose(facts) : null;
  }

  /** The plan for the last complete facts, after the exclusions have changed; null before there are any. */
  recompose(): Plan | null {
    return this.#facts === null ? null : this.compose(this.#facts);
  }

  async #read(): Promise<HostFacts> {
    const facts = await this.#options.inspect();
    for (const message of facts.errors ?? []) this.#options.errors.note('facts', new Error(message));
    if (facts.errors === undefined) this.#facts = facts;
    return facts;
  }
}
