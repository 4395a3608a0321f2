import type { ChildEnd } from './child.ts';
import { failedFunction, failedLine } from './classify.ts';
import type { RunnablePlan } from './plan.ts';

/** Fragments that bpftrace has refused on this host, with the reason: they are left out until something changes. */
export class Refusals {
  readonly reasons = new Map<string, string>();

  /** Notes the fragment that bpftrace names as the reason why it did not start; false where it names none that is new. */
  note(plan: RunnablePlan, end: ChildEnd): boolean {
    if (end.ready || (end.reason !== 'compile_error' && end.reason !== 'function_missing')) return false;
    const { parts } = plan.composed;
    const line = failedLine(end.stderr);
    const functions = parts.flatMap((candidate) => candidate.functions);
    const name = failedFunction(end.stderr, functions);
    const part =
      parts.find(({ firstLine, lastLine }) => line !== null && line >= firstLine && line <= lastLine) ??
      parts.find((candidate) => name !== null && candidate.functions.includes(name));
    if (part === undefined || this.reasons.has(part.probe)) return false;
    this.reasons.set(part.probe, `bpftrace refused it: ${end.message}`);
    return true;
  }

  clear(): void {
    this.reasons.clear();
  }
}
