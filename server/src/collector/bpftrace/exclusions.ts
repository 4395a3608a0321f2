import type { ChildEnd } from './child.ts';
import { failedFunction, failedLine } from './classify.ts';
import type { RunnablePlan } from './plan.ts';

export interface ExclusionTiming {
  /** How long a fragment is left out before it is tried again, in milliseconds; the time doubles with each failure. */
  exclusionMs: number;
  exclusionMaxMs: number;
}

interface Exclusion {
  reason: string;
  /** Milliseconds since boot. */
  until: number;
  failures: number;
  active: boolean;
}

/** Fragments that bpftrace has rejected on this host: each is left out for a while, then tried again. */
export class Exclusions {
  private readonly timing: ExclusionTiming;
  private readonly now: () => number;
  private readonly fragments = new Map<string, Exclusion>();

  /** `now` is in milliseconds since boot. */
  constructor(timing: ExclusionTiming, now: () => number) {
    this.timing = timing;
    this.now = now;
  }

  /** The fragments that are left out now, each with the reason. */
  get reasons(): ReadonlyMap<string, string> {
    const active = [...this.fragments].filter(([, { active }]) => active);
    return new Map(active.map(([name, { reason }]) => [name, reason]));
  }

  /**
   * Excludes the fragment that bpftrace names as the reason why it did not start. False where the failure is not one of a
   * fragment, or where it names none that was in the program.
   */
  note(plan: RunnablePlan, end: ChildEnd): boolean {
    if (end.ready || !IS_OF_A_FRAGMENT.has(end.reason)) return false;
    const { parts } = plan.composed;
    const line = failedLine(end.stderr);
    const functions = parts.flatMap((candidate) => candidate.functions);
    const name = failedFunction(end.stderr, functions);
    const part =
      parts.find(({ firstLine, lastLine }) => line !== null && line >= firstLine && line <= lastLine) ??
      parts.find((candidate) => name !== null && candidate.functions.includes(name));
    const known = part === undefined ? undefined : this.fragments.get(part.probe);
    if (part === undefined || known?.active === true) return false;
    const failures = (known?.failures ?? 0) + 1;
    const { exclusionMs, exclusionMaxMs } = this.timing;
    const wait = Math.min(exclusionMaxMs, exclusionMs * 2 ** (failures - 1));
    const reason = `bpftrace rejected it, and it is tried again within ${Math.ceil(wait / 60_000)} min: ${end.message}`;
    this.fragments.set(part.probe, { reason, until: this.now() + wait, failures, active: true });
    return true;
  }

  /** Whether an exclusion has expired, so that a program with the fragment has to be tried. */
  get expired(): boolean {
    return [...this.fragments.values()].some(({ active, until }) => active && until <= this.now());
  }

  /** Takes expired exclusions back; a fragment that fails again is left out for longer. */
  expire(): void {
    for (const exclusion of this.fragments.values())
      if (exclusion.until <= this.now()) exclusion.active = false;
  }

  /** Something has changed, such as the loaded modules: every fragment is as good as new. */
  clear(): void {
    this.fragments.clear();
  }
}

/** `attach_failed` may be the host's fault: then the other fragments fail too, and all of them are tried again. */
const IS_OF_A_FRAGMENT: ReadonlySet<string> = new Set(['compile_error', 'function_missing', 'attach_failed']);
