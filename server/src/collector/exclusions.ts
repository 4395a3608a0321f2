import type { RunnablePlan } from '../bpftrace/plan.ts';
import type { ChildEnd } from '../bpftrace/process/child.ts';
import { failedFunction, failedLine } from '../bpftrace/process/classify.ts';
import { BackOff } from '../lib/back-off.ts';

export interface ExclusionTiming {
  /**
   * How long a fragment is excluded before a retry, in milliseconds. The time doubles with each failure, up to the
   * maximum.
   */
  exclusionMs: number;
  exclusionMaxMs: number;
}

interface Exclusion {
  reason: string;
  /** Milliseconds since boot. */
  until: number;
  backOff: BackOff;
  active: boolean;
}

/** Fragments that bpftrace has rejected on this host: each is excluded for some time, then retried. */
export class Exclusions {
  readonly #timing: ExclusionTiming;
  readonly #now: () => number;
  readonly #fragments = new Map<string, Exclusion>();

  /** `now` is in milliseconds since boot. */
  constructor(timing: ExclusionTiming, now: () => number) {
    this.#timing = timing;
    this.#now = now;
  }

  /** The fragments that are excluded now, each with the reason. */
  get reasons(): ReadonlyMap<string, string> {
    const active = [...this.#fragments].filter(([, { active }]) => active);
    return new Map(active.map(([name, { reason }]) => [name, reason]));
  }

  /**
   * Excludes the fragment that bpftrace names as the cause of a failed start. Returns false if no fragment caused the
   * failure, or if the named one is not in the program or is already excluded.
   */
  note(plan: RunnablePlan, end: ChildEnd): boolean {
    if (end.ready || !FRAGMENT_FAILURES.has(end.reason)) return false;
    const { parts } = plan.composed;
    const line = failedLine(end.stderr);
    const functions = parts.flatMap((candidate) => candidate.functions);
    const name = failedFunction(end.stderr, functions);
    const part =
      parts.find(({ firstLine, lastLine }) => line !== null && line >= firstLine && line <= lastLine) ??
      parts.find((candidate) => name !== null && candidate.functions.includes(name));
    const known = part === undefined ? undefined : this.#fragments.get(part.probe);
    if (part === undefined || known?.active === true) return false;
    const { exclusionMs, exclusionMaxMs } = this.#timing;
    const backOff = known?.backOff ?? new BackOff({ initialMs: exclusionMs, maxMs: exclusionMaxMs });
    const wait = backOff.next();
    const reason = `bpftrace rejected this probe, retry within ${Math.ceil(wait / 60_000)} min: ${end.message}`;
    this.#fragments.set(part.probe, { reason, until: this.#now() + wait, backOff, active: true });
    return true;
  }

  /** Whether an exclusion has expired, so that a program with its fragment must be tried. */
  get expired(): boolean {
    return [...this.#fragments.values()].some(({ active, until }) => active && until <= this.#now());
  }

  /** Ends expired exclusions, and returns their fragments. A fragment that fails again is excluded for longer. */
  expire(): readonly string[] {
    const ended = [...this.#fragments].filter(([, { active, until }]) => active && until <= this.#now());
    for (const [, exclusion] of ended) exclusion.active = false;
    return ended.map(([name]) => name);
  }

  /** Excludes fragments again, for the first pause: their retry failed for another reason. */
  resume(names: readonly string[]): void {
    for (const name of names) {
      const exclusion = this.#fragments.get(name);
      if (exclusion === undefined || exclusion.active) continue;
      exclusion.active = true;
      exclusion.until = this.#now() + this.#timing.exclusionMs;
    }
  }

  /** Drops all exclusions and failure counts, for example after the loaded modules have changed. */
  clear(): void {
    this.#fragments.clear();
  }
}

/** The host may cause `attach_failed`. Then the other fragments fail too, and the supervisor retries all of them. */
const FRAGMENT_FAILURES: ReadonlySet<string> = new Set([
  'compile_error',
  'function_missing',
  'attach_failed',
]);
