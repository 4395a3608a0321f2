import { snapshotLines } from '../../stream/snapshot-parts.ts';
import type { LineSource } from '../../stream/source.ts';
import { type CollectorLine, FORMAT_VERSION } from '../../stream/wire.ts';
import type { Clock } from '../../support/clock.ts';
import type { Logger } from '../../support/logger.ts';
import type { HostFacts } from '../host/facts.ts';
import { HostErrors } from '../host/host-errors.ts';
import { IdentityWatch } from '../host/identity-watch.ts';
import { type ModuleLook, ModuleWatch } from '../host/module-watch.ts';
import { countRecursionMisses } from '../host/proc.ts';
import { quiesceCpus } from '../host/processors.ts';
import type { ChildEnd } from './child.ts';
import { standby } from './compose.ts';
import { Exclusions } from './exclusions.ts';
import type { FragmentSet } from './fragment.ts';
import { writeGateCommand } from './gate.ts';
import { handOver } from './handover.ts';
import type { Launch } from './launch.ts';
import { LineReader } from './line-reader.ts';
import { LiveBuffers } from './live-buffers.ts';
import { LossWatch } from './loss-watch.ts';
import { moduleChange } from './module-change.ts';
import { composeForHost, type Plan, type RunnablePlan, VFIO_MODULE } from './plan.ts';
import { RunningChild } from './running-child.ts';
import type { Simulation } from './simulation.ts';
import { takeSnapshot } from './snapshot.ts';
import { type SnapshotCause, SnapshotScheduler } from './snapshot-scheduler.ts';
import { fixFor } from './start-failure.ts';
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
  /** Failed reads of the host; the clock and the readers that are handed in may count there too. */
  errors?: HostErrors;
  procRoot: string;
  sysRoot: string;
  timing: SupervisorTiming;
  /** Faults to make, and the text that asked for them. */
  simulation?: { text: string; faults: Simulation } | undefined;
  logger: Pick<Logger, 'info' | 'warn'>;
}

/** The live source: keeps one bpftrace running and writes the collector's own lines between its lines. */
export class Supervisor implements LineSource {
  readonly kind = 'live';
  readonly name = 'bpftrace';
  private readonly options: SupervisorOptions;
  private readonly identities: IdentityWatch;
  private readonly losses: LossWatch;
  private readonly buffers = new LiveBuffers();
  private readonly snapshots: SnapshotScheduler;
  private readonly reader: LineReader;
  private readonly exclusions: Exclusions;
  private readonly errors: HostErrors;
  private readonly modules: ModuleWatch;
  /** Modules whose change is not dealt with yet, and the last look that found them as before, in microseconds since boot. */
  private readonly pending = {
    changed: new Set<string>(),
    since: 0,
    failures: 0,
    /** Microseconds since boot. */
    retryAt: 0,
    reported: false,
    /** The host could not be asked after a look, so what the running program lacks is not known. */
    unasked: false,
  };
  /** The last facts that were read whole. */
  private facts: HostFacts | null = null;
  /** Wall clock at t = 0 as it was last reported, in microseconds since 1970. */
  private bootEpochUs = 0;
  private onLine: (line: string) => void = () => {};
  private generation = 0;
  private running: RunningChild | null = null;
  /** A child that is to take over from the running one. */
  private next: RunningChild | null = null;
  private wasReady = false;
  private plan: RunnablePlan | null = null;
  private wake: () => void = () => {};

  constructor(options: SupervisorOptions) {
    this.options = options;
    const emit = (line: CollectorLine): void => this.emit(line);
    const { clock, procRoot, sysRoot, timing, errors = new HostErrors() } = options;
    this.errors = errors;
    this.exclusions = new Exclusions(timing, () => clock.bootUs() / 1000);
    this.identities = new IdentityWatch({
      procRoot,
      sysRoot,
      bootUs: () => clock.bootUs(),
      emit,
      onError: errors.note,
      // A snapshot is a bpftrace of its own: it is taken only where the process may have left a buffer behind.
      onOwnerExit: () => this.buffers.any && this.snapshots.request('owner_exit'),
    });
    this.modules = new ModuleWatch(sysRoot, { bootUs: () => clock.bootUs(), onError: errors.note });
    this.losses = new LossWatch({ emit, onEventsLost: () => this.snapshots.request('loss') });
    this.reader = new LineReader({
      identities: this.identities,
      losses: this.losses,
      buffers: this.buffers,
    });
    this.snapshots = new SnapshotScheduler({
      clock,
      spacingMs: timing.spacingMs,
      take: (cause, signal) => this.snapshot(cause, signal),
    });
  }

  /** Runs until the signal is aborted; then the child is stopped first. To be called once. */
  async run(onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    const { clock, tracer, timing, simulation } = this.options;
    this.onLine = onLine;
    // Before the host is asked: what changes meanwhile is seen at the next look.
    await this.modules.look();
    const facts = await this.inspect();
    const { t, boot_epoch_us } = epochOf(clock);
    this.bootEpochUs = boot_epoch_us;
    this.emit({
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
      this.next?.stop();
      this.running?.stop();
    };
    signal.addEventListener('abort', stopChild, { once: true });
    const tasks = [
      this.every(timing.tickMs, done.signal, async () => this.tick()),
      this.every(timing.processesMs, done.signal, () => this.identities.poll()),
      this.every(timing.missesMs, done.signal, () => this.readMisses()),
      this.every(timing.modulesMs, done.signal, () => this.checkModules(signal)),
      this.snapshots.run(AbortSignal.any([signal, done.signal])),
    ];
    try {
      await this.keepRunning(facts, signal);
      this.losses.tell(clock.bootUs());
      this.errors.report(clock.bootUs(), (line) => this.emit(line));
    } finally {
      signal.removeEventListener('abort', stopChild);
      done.abort();
      await Promise.allSettled(tasks);
      this.onLine = () => {};
    }
  }

  private async keepRunning(first: HostFacts, signal: AbortSignal): Promise<void> {
    const { timing, clock } = this.options;
    let failures = 0;
    let said = '';
    let known: HostFacts | null = first;
    let lastEnd: ChildEnd | null = null;
    const backOff = (): Promise<void> =>
      this.pause(Math.min(timing.restartMaxMs, timing.restartMs * 2 ** failures++), signal);
    while (!signal.aborted) {
      if (known === null) this.noteChange(await this.modules.look());
      const facts: HostFacts = known ?? (await this.inspect());
      known = null;
      this.exclusions.expire();
      const plan = this.compose(facts);
      if (!plan.runnable) {
        if (lastEnd?.reason === 'attach_failed' && this.exclusions.reasons.size > 0) {
          // Not one function could be attached, so no fragment is at fault.
          this.exclusions.clear();
          await backOff();
          continue;
        }
        this.plan = null;
        if (plan.failure.message !== said) this.sayUnavailable(plan);
        said = plan.failure.message;
        await this.pause(timing.unavailableMs, signal);
        continue;
      }
      said = '';
      this.plan = plan;
      if (!this.pending.unasked) this.forgetChanges();
      const startedAt = clock.bootUs();
      const end = await this.runChild(plan, signal);
      lastEnd = end;
      if (signal.aborted) return;
      if (this.exclusions.note(plan, end)) continue;
      const stable = end.ready && (clock.bootUs() - startedAt) / 1000 >= timing.stableMs;
      failures = stable ? 0 : failures;
      if (end.reason === 'stopped') continue;
      await backOff();
    }
  }

  private compose(facts: HostFacts): Plan {
    return composeForHost(facts, this.options.fragments, this.exclusions.reasons);
  }

  /**
   * Asks the host. Where it could not be read now, because descriptors or memory are used up, the last facts stand in: they say more
   * than a list in which everything is missing.
   */
  private async inspect(): Promise<HostFacts> {
    const facts = await this.options.inspect();
    for (const message of facts.errors ?? []) this.errors.note('facts', new Error(message));
    this.pending.unasked = facts.errors !== undefined;
    if (facts.errors === undefined) this.facts = facts;
    return this.facts ?? facts;
  }

  /** Runs a child and those that take over from it, until one ends that nobody follows. */
  private async runChild(plan: RunnablePlan, signal: AbortSignal): Promise<ChildEnd> {
    let running = this.launch(plan, false);
    this.activate(running);
    for (;;) {
      if (signal.aborted) running.stop();
      const end = await running.ended;
      const { successor } = running;
      this.sayEnded(running, end);
      if (successor === null) {
        this.running = null;
        return end;
      }
      this.activate(successor);
      running = successor;
    }
  }

  private launch(plan: RunnablePlan, held: boolean): RunningChild {
    const { launch, logger, timing } = this.options;
    const { composed, bpftrace } = plan;
    this.generation++;
    const { generation } = this;
    return new RunningChild(
      {
        plan,
        program: held ? standby(composed.program) : composed.program,
        generation,
        launch: launch(bpftrace.path),
        timing,
        faults: this.options.simulation?.faults.child(),
        onArrival: (line) => this.reader.identify(line),
        onLine: (line) => {
          this.onLine(line);
          this.reader.account(line);
        },
        onReady: () => {
          logger.info({ generation, dialect: composed.dialect }, 'bpftrace is ready');
          if (!held) this.requestSnapshot();
        },
        onDropped: () => this.losses.lineDropped('splitter'),
        onHeldDropped: () => this.losses.lineDropped('queue'),
      },
      held,
    );
  }

  private activate(child: RunningChild): void {
    const { plan, generation } = child;
    this.running = child;
    this.plan = plan;
    this.losses.childStarted();
    this.identities.forgetDevices();
    this.emit({
      type: 'child',
      data: {
        t: this.options.clock.bootUs(),
        generation,
        state: 'starting',
        bpftrace: plan.bpftrace.version,
        dialect: plan.composed.dialect,
        probes: plan.composed.probes,
      },
    });
    child.release();
  }

  private sayEnded({ generation, deadSince }: RunningChild, end: ChildEnd): void {
    const { reason, message } = end;
    const fix = end.ready ? null : fixFor(reason);
    const t = this.options.clock.bootUs();
    this.losses.tell(t);
    const blind = deadSince === null ? {} : { blind_since: deadSince };
    const remedy = fix === null ? {} : { remedy: fix };
    this.emit({
      type: 'child',
      data: { t, generation, state: 'exited', reason, message, ...remedy, ...blind },
    });
    if (reason !== 'stopped' && reason !== 'handed_over')
      this.options.logger.warn({ generation, reason, message }, 'bpftrace has ended');
  }

  private requestSnapshot(): void {
    this.snapshots.request(this.wasReady ? 'gap' : 'start');
    this.wasReady = true;
  }

  private sayUnavailable(plan: Extract<Plan, { runnable: false }>): void {
    const { failure, dialect, probes } = plan;
    this.emit({
      type: 'child',
      data: {
        t: this.options.clock.bootUs(),
        generation: 0,
        state: 'unavailable',
        ...failure,
        dialect,
        probes,
      },
    });
    this.options.logger.warn(failure, 'this host cannot be traced');
  }

  private async snapshot(cause: SnapshotCause, signal: AbortSignal): Promise<void> {
    const { clock, launch, procRoot, timing } = this.options;
    if (this.plan === null) return;
    const { oneshot, bpftrace } = this.plan;
    const bootUs = (): number => clock.bootUs();
    const snapshot = await takeSnapshot({
      launch: launch(bpftrace.path),
      oneshot,
      timing,
      procRoot,
      bootUs,
      signal,
      onError: this.errors.note,
    });
    if (signal.aborted) return;
    this.buffers.snapshot(snapshot);
    for (const { device, kvm_pid, holders } of snapshot.buffers) {
      this.identities.seeDevice(device);
      this.identities.seeProcess(kvm_pid, true, clock.bootUs());
      for (const { pid } of holders) this.identities.seeProcess(pid, true, clock.bootUs());
    }
    for (const { pid } of snapshot.device_holders ?? [])
      this.identities.seeProcess(pid, true, clock.bootUs());
    await this.identities.settled();
    for (const line of snapshotLines({ ...snapshot, cause })) this.emit(line);
  }

  private tick(): void {
    const t = this.options.clock.bootUs();
    if (this.running?.isReady !== true) this.emit({ type: 'tick', data: { t } });
    this.losses.tell(t);
    this.errors.report(t, (line) => this.emit(line));
    this.checkWallClock();
  }

  /** Somebody has set the wall clock, or NTP has stepped it: times of the stream mean other moments from now on. */
  private checkWallClock(): void {
    const { t, boot_epoch_us, exact } = epochOf(this.options.clock);
    if (!exact || Math.abs(boot_epoch_us - this.bootEpochUs) < CLOCK_STEP_US) return;
    this.bootEpochUs = boot_epoch_us;
    this.emit({ type: 'clock', data: { t, boot_epoch_us } });
    this.options.logger.warn({ boot_epoch_us }, 'the wall clock was stepped');
  }

  private async readMisses(): Promise<void> {
    const { running } = this;
    if (running?.pid === undefined || !running.isReady) return;
    const misses = await countRecursionMisses(this.options.procRoot, running.pid, this.errors.note);
    if (misses !== null && this.running === running) this.losses.probesMissed(misses);
  }

  /** A module that comes or goes changes what can be probed: the program is made again, and takes over if it is another one. */
  private async checkModules(signal: AbortSignal): Promise<void> {
    const { clock, timing } = this.options;
    const { pending, running } = this;
    // A list that cannot be read is not a change: the next read that succeeds shows what has changed since.
    const isFresh = this.noteChange(await this.modules.look());
    if (isFresh) {
      pending.retryAt = 0;
      this.exclusions.clear();
    }
    if (running === null) {
      if (isFresh) this.wake();
      return;
    }
    if (pending.changed.size > 0 || pending.unasked) {
      if (clock.bootUs() < pending.retryAt) return;
      if (await this.followChange(running, signal)) {
        this.forgetChanges();
      } else {
        const wait = Math.min(timing.restartMaxMs, timing.restartMs * 2 ** pending.failures++);
        pending.retryAt = clock.bootUs() + wait * 1000;
      }
    } else if (this.exclusions.expired && running.isReady) {
      await this.retryExcluded(running, signal);
    }
  }

  /** True where modules have changed since the look before. */
  private noteChange({ changed, since }: ModuleLook): boolean {
    const { pending } = this;
    if (changed.size === 0) return false;
    if (pending.changed.size === 0) pending.since = since;
    for (const name of changed) pending.changed.add(name);
    pending.reported = false;
    return true;
  }

  private forgetChanges(): void {
    this.pending.changed.clear();
    this.pending.failures = 0;
    this.pending.retryAt = 0;
    this.pending.unasked = false;
  }

  /** False where the host lacks something now, and the running program goes on until a later try. */
  private async followChange(running: RunningChild, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.options;
    const changed: ReadonlySet<string> = new Set(this.pending.changed);
    const { since } = this.pending;
    const { generation } = running;
    const { composed } = running.plan;
    const facts = await this.options.inspect();
    if (facts.errors !== undefined) {
      for (const message of facts.errors) this.errors.note('facts', new Error(message));
      return false;
    }
    this.facts = facts;
    const plan = this.compose(facts);
    const next = plan.runnable ? plan.composed : null;
    const touched = moduleChange(composed.probes, next?.probes ?? [], changed);
    if (touched === null && next?.program === composed.program) return true;
    const change = 'the loaded modules have changed';
    // Without its module there are no buffers, and the probes on it are dead.
    if (!plan.runnable || changed.has(VFIO_MODULE)) {
      if (changed.has(VFIO_MODULE)) running.deadSince = since;
      running.stop('stopped', change);
      return true;
    }
    if (touched !== null && !this.pending.reported) {
      this.pending.reported = true;
      const { probes, blind } = touched;
      const unseen = blind.length === 0 ? {} : { blind, blind_since: since };
      const t = clock.bootUs();
      this.emit({ type: 'child', data: { t, generation, state: 'changed', probes, ...unseen } });
    }
    const end = await this.replace(running, plan, signal);
    if (end === 'done' || signal.aborted) return true;
    if (end.isOfHost) {
      this.options.logger.warn(
        { why: end.why },
        'the next program cannot start now; the running one goes on',
      );
      return false;
    }
    this.options.logger.warn({ why: end.why }, 'bpftrace is stopped and started: it could not hand over');
    running.stop('stopped', `${change}; no handover: ${end.why}`);
    return true;
  }

  /** Tries a program with the fragments whose exclusion has expired next to the running one, which is stopped only if that can start. */
  private async retryExcluded(running: RunningChild, signal: AbortSignal): Promise<void> {
    if (this.facts === null) return;
    this.exclusions.expire();
    const plan = this.compose(this.facts);
    if (!plan.runnable || plan.composed.program === running.plan.composed.program) return;
    if (running.plan.composed.gated && plan.composed.gated) {
      const end = await this.replace(running, plan, signal);
      if (end !== 'done')
        this.options.logger.warn({ why: end.why }, 'excluded probes could not be tried again');
      return;
    }
    const trial = this.launch(plan, true);
    this.next = trial;
    const started = await trial.ready;
    trial.stop();
    const end = await trial.ended;
    this.next = null;
    if (signal.aborted) return;
    if (started) running.stop('stopped', 'probes that were excluded can be attached now');
    else this.exclusions.note(plan, end);
  }

  /** Starts a program next to the running one and lets it take over. */
  private async replace(
    running: RunningChild,
    plan: RunnablePlan,
    signal: AbortSignal,
  ): Promise<'done' | { why: string; isOfHost: boolean }> {
    if (!running.plan.composed.gated || !plan.composed.gated) {
      return { why: 'the kernel lacks what it needs', isOfHost: false };
    }
    const { clock, procRoot, sysRoot, timing, logger } = this.options;
    const next = this.launch(plan, true);
    this.next = next;
    const end = await handOver({
      from: running,
      to: next,
      clock,
      procRoot,
      quiesceCpus: () =>
        quiesceCpus(sysRoot, { searchPath: this.options.searchPath, onError: this.errors.note }),
      timing,
      signal,
    });
    this.next = null;
    if (!end.done) {
      next.stop();
      const failed = await next.ended;
      const isOfHost = running.isReady && IS_OF_HOST.has(failed.reason);
      if (!running.isReady || !this.exclusions.note(plan, failed)) return { why: end.why, isOfHost };
      const without = this.compose(this.facts ?? (await this.inspect()));
      if (!without.runnable) return { why: end.why, isOfHost };
      if (without.composed.program === running.plan.composed.program) return 'done';
      return this.replace(running, without, signal);
    }
    await this.readMisses();
    this.losses.callsLeft(end.lost);
    running.successor = next;
    running.stop('handed_over', `generation ${next.generation} has taken over`);
    logger.info({ generation: next.generation, lost: end.lost }, 'bpftrace has handed over');
    await running.ended;
    if (next.pid !== undefined)
      await writeGateCommand(procRoot, next.pid, 'from_the_beginning').catch(() => {});
    this.requestSnapshot();
    return 'done';
  }

  private async every(ms: number, signal: AbortSignal, task: () => Promise<void>): Promise<void> {
    for (;;) {
      await this.options.clock.sleep(ms, signal);
      if (signal.aborted) return;
      await task().catch((error: unknown) => {
        this.options.logger.warn({ err: error }, 'a periodic check of the host failed');
      });
    }
  }

  private async pause(ms: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.wake = () => woken.abort();
    await this.options.clock.sleep(ms, AbortSignal.any([signal, woken.signal]));
    this.wake = () => {};
  }

  private emit(line: CollectorLine): void {
    this.onLine(JSON.stringify(line));
  }
}

/** Failures to start that say nothing of the program. */
const IS_OF_HOST: ReadonlySet<string> = new Set(['permission', 'resources']);
/** Clocks are read to the millisecond or so; a leap second is a step. */
const CLOCK_STEP_US = 500_000;
const CLOCK_READ_US = 50_000;

/** The wall clock at t = 0, in microseconds since 1970; not exact where this process was held up between the two clocks. */
function epochOf(clock: Clock): { t: number; boot_epoch_us: number; exact: boolean } {
  const before = clock.bootUs();
  const wall = Math.round(clock.wallMs() * 1000);
  const t = clock.bootUs();
  return { t, boot_epoch_us: wall - t, exact: t - before < CLOCK_READ_US };
}
