import { writeGateCommand } from '../bpftrace/handover/gate.ts';
import { type HandoverTiming, handOver } from '../bpftrace/handover/handover.ts';
import { moduleChange } from '../bpftrace/handover/module-change.ts';
import type { RunningChild } from '../bpftrace/handover/running-child.ts';
import { type RunnablePlan, VFIO_MODULE } from '../bpftrace/plan.ts';
import { LoadedModules } from '../host/loaded-modules.ts';
import { quiesceCpus } from '../host/processors.ts';
import { BackOff } from '../lib/back-off.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { CollectorLine } from '../protocol/wire.ts';
import type { Children } from './children.ts';
import type { HostErrors } from './host-errors.ts';
import type { LossCounts } from './loss-counts.ts';
import type { Planner } from './planner.ts';

export interface ModuleFollowerOptions {
  children: Children;
  planner: Planner;
  losses: LossCounts;
  errors: HostErrors;
  clock: Clock;
  logger: Pick<Logger, 'info' | 'warn'>;
  procRoot: string;
  sysRoot: string;
  /** PATH to find taskset in. */
  searchPath: string;
  timing: HandoverTiming & { restartMs: number; restartMaxMs: number };
  emit: (line: CollectorLine) => void;
  /** Called when modules have changed while no child runs. */
  onChangeWithoutChild: () => void;
  /** Reads, for the last time, how many runs of its probes the kernel has skipped. */
  readMisses: () => Promise<void>;
  /** Called when a new program has taken over. */
  onTakenOver: () => void;
}

type Replacement = 'done' | { why: string; isHostFailure: boolean };

/** Reasons of a failed start that the host causes, not the program. */
const HOST_FAILURES: ReadonlySet<string> = new Set(['permission', 'resources']);

/**
 * Makes the running program follow the host: when modules come or go, or when the exclusion of a fragment expires, a
 * program that fits takes over.
 */
export class ModuleFollower {
  readonly #options: ModuleFollowerOptions;
  readonly #modules: LoadedModules;
  /** Changes of the loaded modules that the running program does not follow yet. */
  readonly #pending = {
    changed: new Set<string>(),
    /** The last check before the change, in microseconds since boot. */
    since: 0,
    /** Microseconds since boot. */
    retryAt: 0,
    reported: false,
    /** The host could not be inspected, so it is not known which probes the running program lacks. */
    unchecked: false,
  };

  /** The pauses after a change that the host prevents. */
  readonly #backOff: BackOff;

  constructor(options: ModuleFollowerOptions) {
    this.#options = options;
    const { clock, errors, sysRoot, timing } = options;
    this.#backOff = new BackOff({ initialMs: timing.restartMs, maxMs: timing.restartMaxMs });
    this.#modules = new LoadedModules(sysRoot, {
      bootUs: () => clock.bootUs(),
      onError: errors.of('modules'),
    });
  }

  /**
   * Notes the modules that have changed since the last call. Call it before the host is inspected, so that the next
   * call reports modules that change during the inspection. Returns true if there are any.
   */
  async note(): Promise<boolean> {
    const { changed, since } = await this.#modules.check();
    const pending = this.#pending;
    if (changed.size === 0) return false;
    if (pending.changed.size === 0) pending.since = since;
    for (const name of changed) pending.changed.add(name);
    pending.reported = false;
    return true;
  }

  /** A program for the host is about to start: it follows all changes, unless the host could not be inspected. */
  programChosen(): void {
    if (this.#options.planner.isComplete) this.#clear();
    else this.#pending.unchecked = true;
  }

  /** Checks the modules. If a program with other probes fits now, it takes over. */
  async check(signal: AbortSignal): Promise<void> {
    const { children, clock, onChangeWithoutChild, planner } = this.#options;
    const pending = this.#pending;
    const { running } = children;
    // A list that cannot be read is not a change: the next successful read reports all changes since the last one.
    const hasChanged = await this.note();
    if (hasChanged) {
      pending.retryAt = 0;
      planner.exclusions.clear();
    }
    if (running === null) {
      if (hasChanged) onChangeWithoutChild();
      return;
    }
    if (pending.changed.size > 0 || pending.unchecked) {
      if (clock.bootUs() < pending.retryAt) return;
      if (await this.#follow(running, signal)) {
        this.#clear();
      } else {
        pending.retryAt = clock.bootUs() + this.#backOff.next() * 1000;
      }
    } else if (planner.exclusions.expired && running.isReady) {
      await this.#retryExcluded(running, signal);
    }
  }

  #clear(): void {
    this.#pending.changed.clear();
    this.#backOff.reset();
    this.#pending.retryAt = 0;
    this.#pending.unchecked = false;
  }

  /** Returns false if the host prevents the change now: the running program continues, and a retry follows. */
  async #follow(running: RunningChild, signal: AbortSignal): Promise<boolean> {
    const { clock, emit, logger, planner } = this.#options;
    const changed: ReadonlySet<string> = new Set(this.#pending.changed);
    const { since } = this.#pending;
    const { generation } = running;
    const { composed } = running.plan;
    const plan = await planner.replan();
    if (plan === null) return false;
    const next = plan.runnable ? plan.composed : null;
    const touched = moduleChange(composed.probes, next?.probes ?? [], changed);
    if (touched === null && next?.program === composed.program) return true;
    const change = 'the loaded modules have changed';
    // Without vfio_pci_core there are no buffers. After a reload, the probes on it are detached.
    if (!plan.runnable || changed.has(VFIO_MODULE)) {
      if (changed.has(VFIO_MODULE)) running.blindSince = since;
      running.stop('stopped', change);
      return true;
    }
    if (touched !== null && !this.#pending.reported) {
      this.#pending.reported = true;
      const { probes, blind } = touched;
      const blindTime = blind.length === 0 ? {} : { blind, blind_since: since };
      const t = clock.bootUs();
      emit({ type: 'child', data: { t, generation, state: 'changed', probes, ...blindTime } });
    }
    const end = await this.#replace(running, plan, signal);
    if (end === 'done' || signal.aborted) return true;
    if (end.isHostFailure) {
      logger.warn(
        { why: end.why },
        'the new bpftrace program cannot start now; the running one continues, and a retry follows',
      );
      return false;
    }
    logger.warn({ why: end.why }, 'bpftrace is restarted, because it could not hand over');
    running.stop('stopped', `${change}; no handover: ${end.why}`);
    return true;
  }

  /**
   * Tries a program with the fragments whose exclusion has expired. It replaces the running program only if it starts.
   */
  async #retryExcluded(running: RunningChild, signal: AbortSignal): Promise<void> {
    const { children, logger, planner } = this.#options;
    const expired = planner.exclusions.expire();
    const plan = planner.recompose();
    if (plan === null || !plan.runnable) {
      planner.exclusions.resume(expired);
      return;
    }
    if (plan.composed.program === running.plan.composed.program) return;
    if (running.plan.composed.gated && plan.composed.gated) {
      const end = await this.#replace(running, plan, signal);
      if (end === 'done') return;
      logger.warn({ why: end.why }, 'the retry of excluded probes has failed');
      planner.exclusions.resume(expired);
      return;
    }
    const { started, end } = await children.withStandby(plan, async (trial) => {
      const started = await trial.ready;
      trial.stop();
      return { started, end: await trial.ended };
    });
    if (signal.aborted) return;
    if (started) running.stop('stopped', 'excluded probes can be attached now');
    else if (!planner.exclusions.note(plan, end)) planner.exclusions.resume(expired);
  }

  /** Starts a standby next to the running program and hands over to it. */
  async #replace(running: RunningChild, plan: RunnablePlan, signal: AbortSignal): Promise<Replacement> {
    if (!running.plan.composed.gated || !plan.composed.gated) {
      return { why: 'the kernel lacks a member that a handover needs', isHostFailure: false };
    }
    const { children, clock, errors, logger, losses, planner, procRoot, searchPath, sysRoot, timing } =
      this.#options;
    const { next, end } = await children.withStandby(plan, async (child) => ({
      next: child,
      end: await handOver({
        from: running,
        to: child,
        clock,
        procRoot,
        quiesceCpus: () => quiesceCpus(sysRoot, { searchPath, onError: errors.of('processors') }),
        timing,
        signal,
      }),
    }));
    if (!end.done) {
      next.stop();
      const failed = await next.ended;
      const failure = { why: end.why, isHostFailure: running.isReady && HOST_FAILURES.has(failed.reason) };
      if (!running.isReady || !planner.exclusions.note(plan, failed)) return failure;
      const without = planner.recompose();
      if (without === null || !without.runnable) return failure;
      if (without.composed.program === running.plan.composed.program) return 'done';
      return this.#replace(running, without, signal);
    }
    await this.#options.readMisses();
    losses.handoverLost(end.lost);
    running.successor = next;
    running.stop('handed_over', `generation ${next.generation} has taken over`);
    logger.info({ generation: next.generation, lost: end.lost }, 'bpftrace has handed over');
    await running.ended;
    if (next.pid !== undefined)
      await writeGateCommand(procRoot, next.pid, 'from_the_beginning').catch(() => {});
    this.#options.onTakenOver();
    return 'done';
  }
}
