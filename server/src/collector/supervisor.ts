import { standby } from '../bpftrace/compiler/compose.ts';
import type { FragmentSet } from '../bpftrace/compiler/fragment.ts';
import type { HostFacts } from '../bpftrace/facts.ts';
import { writeGateCommand } from '../bpftrace/handover/gate.ts';
import { handOver } from '../bpftrace/handover/handover.ts';
import { moduleChange } from '../bpftrace/handover/module-change.ts';
import { RunningChild } from '../bpftrace/handover/running-child.ts';
import { composeForHost, type Plan, type RunnablePlan, VFIO_MODULE } from '../bpftrace/plan.ts';
import type { ChildEnd } from '../bpftrace/process/child.ts';
import type { Launch } from '../bpftrace/process/launch.ts';
import type { Simulation } from '../bpftrace/process/simulation.ts';
import { fixFor } from '../bpftrace/start-failure.ts';
import { LoadedModules, type ModuleDiff } from '../host/loaded-modules.ts';
import { countRecursionMisses } from '../host/proc.ts';
import { quiesceCpus } from '../host/processors.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { snapshotLines } from '../protocol/snapshot-parts.ts';
import type { LineSource } from '../protocol/source.ts';
import { type CollectorLine, FORMAT_VERSION } from '../protocol/wire.ts';
import { Exclusions } from './exclusions.ts';
import { HostErrors } from './host-errors.ts';
import { IdentityReporter } from './identity-reporter.ts';
import { LineReader } from './line-reader.ts';
import { LiveBuffers } from './live-buffers.ts';
import { LossCounts } from './loss-counts.ts';
import { takeSnapshot } from './snapshot.ts';
import { type SnapshotCause, SnapshotScheduler } from './snapshot-scheduler.ts';
import type { SupervisorTiming } from './timing.ts';

export interface SupervisorOptions {
  fragments: FragmentSet;
  /** Version of this program, for the header. */
  tracer: string;
  inspect: () => Promise<HostFacts>;
  launch: (path: string) => Launch;
  /** PATH for helper commands. */
  searchPath: string;
  clock: Clock;
  /** Counts failed reads of the host; shared with the clock and other readers of the caller. */
  errors?: HostErrors;
  procRoot: string;
  sysRoot: string;
  timing: SupervisorTiming;
  /** Faults to inject, and the text of `--simulate` for the header. */
  simulation?: { text: string; faults: Simulation } | undefined;
  logger: Pick<Logger, 'info' | 'warn'>;
}

/** The live source: keeps one bpftrace running, and adds the collector's lines to its output. */
export class Supervisor implements LineSource {
  readonly kind = 'live';
  readonly name = 'bpftrace';
  readonly #options: SupervisorOptions;
  readonly #identities: IdentityReporter;
  readonly #losses: LossCounts;
  readonly #buffers = new LiveBuffers();
  readonly #snapshots: SnapshotScheduler;
  readonly #reader: LineReader;
  readonly #exclusions: Exclusions;
  readonly #errors: HostErrors;
  readonly #modules: LoadedModules;
  /** Changes of the loaded modules that the running program does not follow yet. */
  readonly #pending = {
    changed: new Set<string>(),
    /** The last check before the change, in microseconds since boot. */
    since: 0,
    failures: 0,
    /** Microseconds since boot. */
    retryAt: 0,
    reported: false,
    /** The host could not be inspected, so it is not known which probes the running program lacks. */
    unchecked: false,
  };
  /** The last facts that were read without an error. */
  #facts: HostFacts | null = null;
  /** Wall clock at t = 0, as last reported, in microseconds since 1970. */
  #bootEpochUs = 0;
  #onLine: (line: string) => void = () => {};
  #generation = 0;
  #running: RunningChild | null = null;
  /** The standby, which is to take over from the running child. */
  #next: RunningChild | null = null;
  #wasReady = false;
  #plan: RunnablePlan | null = null;
  #wake: () => void = () => {};

  constructor(options: SupervisorOptions) {
    this.#options = options;
    const emit = (line: CollectorLine): void => this.#emit(line);
    const { clock, procRoot, sysRoot, timing, errors = new HostErrors() } = options;
    this.#errors = errors;
    this.#exclusions = new Exclusions(timing, () => clock.bootUs() / 1000);
    this.#identities = new IdentityReporter({
      procRoot,
      sysRoot,
      bootUs: () => clock.bootUs(),
      emit,
      errors,
      // A snapshot starts another bpftrace, so it is taken only if the process may have left a live buffer.
      onOwnerExit: () => this.#buffers.any && this.#snapshots.request('owner_exit'),
    });
    this.#modules = new LoadedModules(sysRoot, {
      bootUs: () => clock.bootUs(),
      onError: errors.of('modules'),
    });
    this.#losses = new LossCounts({ emit, onEventsLost: () => this.#snapshots.request('loss') });
    this.#reader = new LineReader({
      identities: this.#identities,
      losses: this.#losses,
      buffers: this.#buffers,
    });
    this.#snapshots = new SnapshotScheduler({
      clock,
      spacingMs: timing.spacingMs,
      take: (cause, signal) => this.#snapshot(cause, signal),
    });
  }

  /** Runs until the signal is aborted, then stops the child and resolves. To be called once. */
  async run(onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    const { clock, tracer, timing, simulation } = this.#options;
    this.#onLine = onLine;
    // Before the inspection, so that the next check reports modules that change during it.
    await this.#modules.check();
    const facts = await this.#inspect();
    const { t, boot_epoch_us } = epochOf(clock);
    this.#bootEpochUs = boot_epoch_us;
    this.#emit({
      type: 'header',
      data: {
        format: FORMAT_VERSION,
        tracer,
        kernel: facts.kernel,
        boot_epoch_us,
        t,
        ...(simulation === undefined ? {} : { simulation: simulation.text }),
      },
    });
    const done = new AbortController();
    const stopChild = (): void => {
      this.#next?.stop();
      this.#running?.stop();
    };
    signal.addEventListener('abort', stopChild, { once: true });
    const tasks = [
      this.#every(timing.tickMs, done.signal, async () => this.#tick()),
      this.#every(timing.processesMs, done.signal, () => this.#identities.poll()),
      this.#every(timing.missesMs, done.signal, () => this.#readMisses()),
      this.#every(timing.modulesMs, done.signal, () => this.#checkModules(signal)),
      this.#snapshots.run(AbortSignal.any([signal, done.signal])),
    ];
    try {
      await this.#keepRunning(facts, signal);
      this.#losses.report(clock.bootUs());
      this.#errors.report(clock.bootUs(), (line) => this.#emit(line));
    } finally {
      signal.removeEventListener('abort', stopChild);
      done.abort();
      await Promise.allSettled(tasks);
      this.#onLine = () => {};
    }
  }

  async #keepRunning(first: HostFacts, signal: AbortSignal): Promise<void> {
    const { timing, clock } = this.#options;
    let failures = 0;
    let reported = '';
    let known: HostFacts | null = first;
    let lastEnd: ChildEnd | null = null;
    const backOff = (): Promise<void> =>
      this.#pause(Math.min(timing.restartMaxMs, timing.restartMs * 2 ** failures++), signal);
    while (!signal.aborted) {
      if (known === null) this.#noteChange(await this.#modules.check());
      const facts: HostFacts = known ?? (await this.#inspect());
      known = null;
      this.#exclusions.expire();
      const plan = this.#compose(facts);
      if (!plan.runnable) {
        if (lastEnd?.reason === 'attach_failed' && this.#exclusions.reasons.size > 0) {
          // No function at all could be attached, so no fragment is at fault.
          this.#exclusions.clear();
          await backOff();
          continue;
        }
        this.#plan = null;
        if (plan.failure.message !== reported) this.#reportUnavailable(plan);
        reported = plan.failure.message;
        await this.#pause(timing.unavailableMs, signal);
        continue;
      }
      reported = '';
      this.#plan = plan;
      if (!this.#pending.unchecked) this.#clearPending();
      const startedAt = clock.bootUs();
      const end = await this.#runChild(plan, signal);
      lastEnd = end;
      if (signal.aborted) return;
      if (this.#exclusions.note(plan, end)) continue;
      const stable = end.ready && (clock.bootUs() - startedAt) / 1000 >= timing.stableMs;
      failures = stable ? 0 : failures;
      if (end.reason === 'stopped') continue;
      await backOff();
    }
  }

  #compose(facts: HostFacts): Plan {
    return composeForHost(facts, this.#options.fragments, this.#exclusions.reasons);
  }

  /**
   * Inspects the host. If a read fails, for example for lack of descriptors or memory, the last complete facts are
   * used: facts with missing functions would remove probes from the program.
   */
  async #inspect(): Promise<HostFacts> {
    const facts = await this.#options.inspect();
    for (const message of facts.errors ?? []) this.#errors.note('facts', new Error(message));
    this.#pending.unchecked = facts.errors !== undefined;
    if (facts.errors === undefined) this.#facts = facts;
    return this.#facts ?? facts;
  }

  /** Runs a child and its successors, until one ends without a successor. */
  async #runChild(plan: RunnablePlan, signal: AbortSignal): Promise<ChildEnd> {
    let running = this.#launch(plan, false);
    this.#activate(running);
    for (;;) {
      if (signal.aborted) running.stop();
      const end = await running.ended;
      const { successor } = running;
      this.#reportEnd(running, end);
      if (successor === null) {
        this.#running = null;
        return end;
      }
      this.#activate(successor);
      running = successor;
    }
  }

  #launch(plan: RunnablePlan, held: boolean): RunningChild {
    const { launch, logger, timing } = this.#options;
    const { composed, bpftrace } = plan;
    this.#generation++;
    const generation = this.#generation;
    return new RunningChild(
      {
        plan,
        program: held ? standby(composed.program) : composed.program,
        generation,
        launch: launch(bpftrace.path),
        timing,
        faults: this.#options.simulation?.faults.child(),
        onArrival: (line) => this.#reader.identify(line),
        onLine: (line) => {
          this.#onLine(line);
          this.#reader.account(line);
        },
        onReady: () => {
          logger.info({ generation, dialect: composed.dialect }, 'bpftrace is ready');
          if (!held) this.#requestSnapshot();
        },
        onDropped: () => this.#losses.lineDropped('splitter'),
        onHeldDropped: () => this.#losses.lineDropped('queue'),
      },
      held,
    );
  }

  #activate(child: RunningChild): void {
    const { plan, generation } = child;
    this.#running = child;
    this.#plan = plan;
    this.#losses.childStarted();
    this.#identities.invalidateDevices();
    this.#emit({
      type: 'child',
      data: {
        t: this.#options.clock.bootUs(),
        generation,
        state: 'starting',
        bpftrace: plan.bpftrace.version,
        dialect: plan.composed.dialect,
        probes: plan.composed.probes,
      },
    });
    child.release();
  }

  #reportEnd({ generation, blindSince }: RunningChild, end: ChildEnd): void {
    const { reason, message } = end;
    const fix = end.ready ? null : fixFor(reason);
    const t = this.#options.clock.bootUs();
    this.#losses.report(t);
    const blind = blindSince === null ? {} : { blind_since: blindSince };
    const remedy = fix === null ? {} : { remedy: fix };
    this.#emit({
      type: 'child',
      data: { t, generation, state: 'exited', reason, message, ...remedy, ...blind },
    });
    if (reason !== 'stopped' && reason !== 'handed_over')
      this.#options.logger.warn({ generation, reason, message }, 'bpftrace has ended');
  }

  #requestSnapshot(): void {
    this.#snapshots.request(this.#wasReady ? 'gap' : 'start');
    this.#wasReady = true;
  }

  #reportUnavailable(plan: Extract<Plan, { runnable: false }>): void {
    const { failure, dialect, probes } = plan;
    this.#emit({
      type: 'child',
      data: {
        t: this.#options.clock.bootUs(),
        generation: 0,
        state: 'unavailable',
        ...failure,
        dialect,
        probes,
      },
    });
    this.#options.logger.warn(failure, 'this host cannot be traced');
  }

  async #snapshot(cause: SnapshotCause, signal: AbortSignal): Promise<void> {
    const { clock, launch, procRoot, timing } = this.#options;
    if (this.#plan === null) return;
    const { oneshot, bpftrace } = this.#plan;
    const bootUs = (): number => clock.bootUs();
    const snapshot = await takeSnapshot({
      launch: launch(bpftrace.path),
      oneshot,
      timing,
      procRoot,
      bootUs,
      signal,
      onError: this.#errors.of('holders'),
    });
    if (signal.aborted) return;
    this.#buffers.snapshot(snapshot);
    for (const { device, kvm_pid, holders } of snapshot.buffers) {
      this.#identities.seeDevice(device);
      this.#identities.seeProcess(kvm_pid, true, clock.bootUs());
      for (const { pid } of holders) this.#identities.seeProcess(pid, true, clock.bootUs());
    }
    for (const { pid } of snapshot.device_holders ?? [])
      this.#identities.seeProcess(pid, true, clock.bootUs());
    await this.#identities.settled();
    for (const line of snapshotLines({ ...snapshot, cause })) this.#emit(line);
  }

  #tick(): void {
    const t = this.#options.clock.bootUs();
    if (this.#running?.isReady !== true) this.#emit({ type: 'tick', data: { t } });
    this.#losses.report(t);
    this.#errors.report(t, (line) => this.#emit(line));
    this.#checkWallClock();
  }

  /**
   * Reports a step of the wall clock (set by hand, or by NTP): the stream's times convert to other wall times from now
   * on.
   */
  #checkWallClock(): void {
    const { t, boot_epoch_us, exact } = epochOf(this.#options.clock);
    if (!exact || Math.abs(boot_epoch_us - this.#bootEpochUs) < CLOCK_STEP_US) return;
    this.#bootEpochUs = boot_epoch_us;
    this.#emit({ type: 'clock', data: { t, boot_epoch_us } });
    this.#options.logger.warn({ boot_epoch_us }, 'the wall clock was stepped');
  }

  async #readMisses(): Promise<void> {
    const running = this.#running;
    if (running?.pid === undefined || !running.isReady) return;
    const misses = await countRecursionMisses(
      this.#options.procRoot,
      running.pid,
      this.#errors.of('probe_misses'),
    );
    if (misses !== null && this.#running === running) this.#losses.probesMissed(misses);
  }

  /**
   * A module that was loaded or unloaded changes which probes can be attached. If the new program differs, it takes
   * over.
   */
  async #checkModules(signal: AbortSignal): Promise<void> {
    const { clock, timing } = this.#options;
    const pending = this.#pending;
    const running = this.#running;
    // A list that cannot be read is not a change: the next successful read reports all changes since the last one.
    const hasChanged = this.#noteChange(await this.#modules.check());
    if (hasChanged) {
      pending.retryAt = 0;
      this.#exclusions.clear();
    }
    if (running === null) {
      if (hasChanged) this.#wake();
      return;
    }
    if (pending.changed.size > 0 || pending.unchecked) {
      if (clock.bootUs() < pending.retryAt) return;
      if (await this.#followChange(running, signal)) {
        this.#clearPending();
      } else {
        const wait = Math.min(timing.restartMaxMs, timing.restartMs * 2 ** pending.failures++);
        pending.retryAt = clock.bootUs() + wait * 1000;
      }
    } else if (this.#exclusions.expired && running.isReady) {
      await this.#retryExcluded(running, signal);
    }
  }

  /** Returns true if modules have changed since the previous check. */
  #noteChange({ changed, since }: ModuleDiff): boolean {
    const pending = this.#pending;
    if (changed.size === 0) return false;
    if (pending.changed.size === 0) pending.since = since;
    for (const name of changed) pending.changed.add(name);
    pending.reported = false;
    return true;
  }

  #clearPending(): void {
    this.#pending.changed.clear();
    this.#pending.failures = 0;
    this.#pending.retryAt = 0;
    this.#pending.unchecked = false;
  }

  /** Returns false if the host prevents the change now: the running program continues, and a retry follows. */
  async #followChange(running: RunningChild, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#options;
    const changed: ReadonlySet<string> = new Set(this.#pending.changed);
    const { since } = this.#pending;
    const { generation } = running;
    const { composed } = running.plan;
    const facts = await this.#options.inspect();
    if (facts.errors !== undefined) {
      for (const message of facts.errors) this.#errors.note('facts', new Error(message));
      return false;
    }
    this.#facts = facts;
    const plan = this.#compose(facts);
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
      this.#emit({ type: 'child', data: { t, generation, state: 'changed', probes, ...blindTime } });
    }
    const end = await this.#replace(running, plan, signal);
    if (end === 'done' || signal.aborted) return true;
    if (end.isHostFailure) {
      this.#options.logger.warn(
        { why: end.why },
        'the new bpftrace program cannot start now; the running one continues, and a retry follows',
      );
      return false;
    }
    this.#options.logger.warn({ why: end.why }, 'bpftrace is restarted, because it could not hand over');
    running.stop('stopped', `${change}; no handover: ${end.why}`);
    return true;
  }

  /**
   * Tries a program with the fragments whose exclusion has expired. It replaces the running program only if it starts.
   */
  async #retryExcluded(running: RunningChild, signal: AbortSignal): Promise<void> {
    if (this.#facts === null) return;
    this.#exclusions.expire();
    const plan = this.#compose(this.#facts);
    if (!plan.runnable || plan.composed.program === running.plan.composed.program) return;
    if (running.plan.composed.gated && plan.composed.gated) {
      const end = await this.#replace(running, plan, signal);
      if (end !== 'done')
        this.#options.logger.warn({ why: end.why }, 'the retry of excluded probes has failed');
      return;
    }
    const trial = this.#launch(plan, true);
    this.#next = trial;
    const started = await trial.ready;
    trial.stop();
    const end = await trial.ended;
    this.#next = null;
    if (signal.aborted) return;
    if (started) running.stop('stopped', 'excluded probes can be attached now');
    else this.#exclusions.note(plan, end);
  }

  /** Starts a standby next to the running program and hands over to it. */
  async #replace(
    running: RunningChild,
    plan: RunnablePlan,
    signal: AbortSignal,
  ): Promise<'done' | { why: string; isHostFailure: boolean }> {
    if (!running.plan.composed.gated || !plan.composed.gated) {
      return { why: 'the kernel lacks a member that a handover needs', isHostFailure: false };
    }
    const { clock, procRoot, sysRoot, timing, logger } = this.#options;
    const next = this.#launch(plan, true);
    this.#next = next;
    const end = await handOver({
      from: running,
      to: next,
      clock,
      procRoot,
      quiesceCpus: () =>
        quiesceCpus(sysRoot, {
          searchPath: this.#options.searchPath,
          onError: this.#errors.of('processors'),
        }),
      timing,
      signal,
    });
    this.#next = null;
    if (!end.done) {
      next.stop();
      const failed = await next.ended;
      const isHostFailure = running.isReady && HOST_FAILURES.has(failed.reason);
      if (!running.isReady || !this.#exclusions.note(plan, failed)) return { why: end.why, isHostFailure };
      const without = this.#compose(this.#facts ?? (await this.#inspect()));
      if (!without.runnable) return { why: end.why, isHostFailure };
      if (without.composed.program === running.plan.composed.program) return 'done';
      return this.#replace(running, without, signal);
    }
    await this.#readMisses();
    this.#losses.handoverLost(end.lost);
    running.successor = next;
    running.stop('handed_over', `generation ${next.generation} has taken over`);
    logger.info({ generation: next.generation, lost: end.lost }, 'bpftrace has handed over');
    await running.ended;
    if (next.pid !== undefined)
      await writeGateCommand(procRoot, next.pid, 'from_the_beginning').catch(() => {});
    this.#requestSnapshot();
    return 'done';
  }

  async #every(ms: number, signal: AbortSignal, task: () => Promise<void>): Promise<void> {
    for (;;) {
      await this.#options.clock.sleep(ms, signal);
      if (signal.aborted) return;
      await task().catch((error: unknown) => {
        this.#options.logger.warn({ err: error }, 'a periodic check of the host failed');
      });
    }
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const wakeUp = new AbortController();
    this.#wake = () => wakeUp.abort();
    await this.#options.clock.sleep(ms, AbortSignal.any([signal, wakeUp.signal]));
    this.#wake = () => {};
  }

  #emit(line: CollectorLine): void {
    this.#onLine(JSON.stringify(line));
  }
}

/** Reasons of a failed start that the host causes, not the program. */
const HOST_FAILURES: ReadonlySet<string> = new Set(['permission', 'resources']);
/** Smaller differences are not a step: the clocks are read with an error of about 1 ms. A leap second is a step. */
const CLOCK_STEP_US = 500_000;
const CLOCK_READ_US = 50_000;

/**
 * The wall clock at t = 0, in microseconds since 1970; not `exact` if this process was delayed between the reads of the
 * clocks.
 */
function epochOf(clock: Clock): { t: number; boot_epoch_us: number; exact: boolean } {
  const before = clock.bootUs();
  const wall = Math.round(clock.wallMs() * 1000);
  const t = clock.bootUs();
  return { t, boot_epoch_us: wall - t, exact: t - before < CLOCK_READ_US };
}
