import type { FragmentSet } from '../bpftrace/compiler/fragment-set.ts';
import type { HostFacts } from '../bpftrace/facts.ts';
import type { Plan } from '../bpftrace/plan.ts';
import type { ChildEnd } from '../bpftrace/process/child.ts';
import type { Launch } from '../bpftrace/process/launch.ts';
import type { Simulation } from '../bpftrace/process/simulation.ts';
import { countRecursionMisses } from '../host/proc.ts';
import { BackOff } from '../lib/back-off.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { snapshotLines } from '../protocol/snapshot-parts.ts';
import type { LiveSource } from '../protocol/source.ts';
import { type StreamLine, streamLine } from '../protocol/stream-line.ts';
import { type CollectorLine, FORMAT_VERSION } from '../protocol/wire.ts';
import { Children } from './children.ts';
import { HostErrors } from './host-errors.ts';
import { IdentityReporter } from './identity-reporter.ts';
import { LineReader } from './line-reader.ts';
import { LiveBuffers } from './live-buffers.ts';
import { LossCounts } from './loss-counts.ts';
import { ModuleFollower } from './module-follower.ts';
import { Planner } from './planner.ts';
import { takeSnapshot } from './snapshot.ts';
import { type SnapshotCause, SnapshotScheduler } from './snapshot-scheduler.ts';
import type { SupervisorTiming } from './timing.ts';
import { WallClock } from './wall-clock.ts';

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
export class Supervisor implements LiveSource {
  readonly kind = 'live';
  readonly name = 'bpftrace';
  readonly #options: SupervisorOptions;
  readonly #identities: IdentityReporter;
  readonly #losses: LossCounts;
  readonly #buffers = new LiveBuffers();
  readonly #snapshots: SnapshotScheduler;
  readonly #errors: HostErrors;
  readonly #planner: Planner;
  readonly #children: Children;
  readonly #modules: ModuleFollower;
  readonly #wallClock: WallClock;
  /** Decodes the collector's own lines too, so that a replay of the text comes to the same records. */
  readonly #emit = (line: CollectorLine): void => this.#onLine(streamLine(JSON.stringify(line)));
  #onLine: (line: StreamLine) => void = () => {};
  #wasReady = false;
  #wake: () => void = () => {};

  constructor(options: SupervisorOptions) {
    this.#options = options;
    const { clock, errors = new HostErrors(), logger, procRoot, simulation, sysRoot, timing } = options;
    const emit = this.#emit;
    this.#errors = errors;
    this.#wallClock = new WallClock(clock);
    this.#planner = new Planner({ ...options, errors });
    this.#identities = new IdentityReporter({
      procRoot,
      sysRoot,
      bootUs: () => clock.bootUs(),
      emit,
      errors,
      // A snapshot starts another bpftrace, so it is taken only if the process may have left a live buffer.
      onOwnerExit: () => this.#buffers.any && this.#snapshots.request('owner_exit'),
    });
    this.#losses = new LossCounts({ emit, onEventsLost: () => this.#snapshots.request('loss') });
    const reader = new LineReader({
      identities: this.#identities,
      losses: this.#losses,
      buffers: this.#buffers,
    });
    this.#children = new Children({
      launch: options.launch,
      timing,
      clock,
      logger,
      losses: this.#losses,
      simulation: simulation?.faults,
      emit,
      onArrival: ({ record }) => reader.identify(record),
      onLine: (line) => {
        this.#onLine(line);
        reader.account(line.record);
      },
      onStart: () => this.#identities.invalidateDevices(),
      onReady: () => this.#snapshotAfterGap(),
    });
    this.#modules = new ModuleFollower({
      ...options,
      errors,
      emit,
      children: this.#children,
      planner: this.#planner,
      losses: this.#losses,
      onChangeWithoutChild: () => this.#wake(),
      readMisses: () => this.#readMisses(),
      onTakenOver: () => this.#snapshotAfterGap(),
    });
    this.#snapshots = new SnapshotScheduler({
      clock,
      spacingMs: timing.spacingMs,
      take: (cause, signal) => this.#snapshot(cause, signal),
    });
  }

  /** Runs until the signal is aborted, then stops the child and resolves. To be called once. */
  async run(onLine: (line: StreamLine) => void, signal: AbortSignal): Promise<void> {
    const { clock, tracer, timing, simulation } = this.#options;
    this.#onLine = onLine;
    await this.#modules.note();
    const facts = await this.#planner.inspect();
    const { t, boot_epoch_us } = this.#wallClock.start();
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
    const stopChildren = (): void => this.#children.stop();
    signal.addEventListener('abort', stopChildren, { once: true });
    const tasks = [
      this.#every(timing.tickMs, done.signal, async () => this.#tick()),
      this.#every(timing.processesMs, done.signal, () => this.#identities.poll()),
      this.#every(timing.missesMs, done.signal, () => this.#readMisses()),
      this.#every(timing.modulesMs, done.signal, () => this.#modules.check(signal)),
      this.#snapshots.run(AbortSignal.any([signal, done.signal])),
    ];
    try {
      await this.#keepRunning(facts, signal);
      this.#losses.report(clock.bootUs());
      this.#errors.report(clock.bootUs(), this.#emit);
    } finally {
      signal.removeEventListener('abort', stopChildren);
      done.abort();
      await Promise.allSettled(tasks);
      this.#onLine = () => {};
    }
  }

  requestSnapshot(): void {
    this.#snapshots.request('loss');
  }

  async #keepRunning(first: HostFacts, signal: AbortSignal): Promise<void> {
    const { timing, clock } = this.#options;
    const { exclusions } = this.#planner;
    const backOff = new BackOff({ initialMs: timing.restartMs, maxMs: timing.restartMaxMs });
    let reported = '';
    let known: HostFacts | null = first;
    let lastEnd: ChildEnd | null = null;
    while (!signal.aborted) {
      // Before the inspection, which may take longer than an exclusion lasts: the next program must not have the
      // fragment that was just rejected.
      exclusions.expire();
      if (known === null) await this.#modules.note();
      const facts: HostFacts = known ?? (await this.#planner.inspect());
      known = null;
      const plan = this.#planner.compose(facts);
      if (!plan.runnable) {
        if (lastEnd?.reason === 'attach_failed' && exclusions.reasons.size > 0) {
          // No function at all could be attached, so no fragment is at fault.
          exclusions.clear();
          await this.#pause(backOff.next(), signal);
          continue;
        }
        this.#children.plan = null;
        if (plan.failure.message !== reported) this.#reportUnavailable(plan);
        reported = plan.failure.message;
        await this.#pause(timing.unavailableMs, signal);
        continue;
      }
      reported = '';
      this.#modules.programChosen();
      const startedAt = clock.bootUs();
      const end = await this.#children.run(plan, signal);
      lastEnd = end;
      if (signal.aborted) return;
      if (exclusions.note(plan, end)) continue;
      const stable = end.ready && (clock.bootUs() - startedAt) / 1000 >= timing.stableMs;
      if (stable) backOff.reset();
      if (end.reason === 'stopped') continue;
      await this.#pause(backOff.next(), signal);
    }
  }

  #snapshotAfterGap(): void {
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
    const { plan } = this.#children;
    if (plan === null) return;
    const { oneshot, bpftrace } = plan;
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
    if (this.#children.running?.isReady !== true) this.#emit({ type: 'tick', data: { t } });
    this.#losses.report(t);
    this.#errors.report(t, this.#emit);
    const step = this.#wallClock.step();
    if (step === null) return;
    // The stream's times convert to other wall times from now on.
    this.#emit({ type: 'clock', data: step });
    this.#options.logger.warn({ boot_epoch_us: step.boot_epoch_us }, 'the wall clock was stepped');
  }

  async #readMisses(): Promise<void> {
    const { running } = this.#children;
    if (running?.pid === undefined || !running.isReady) return;
    const misses = await countRecursionMisses(
      this.#options.procRoot,
      running.pid,
      this.#errors.of('probe_misses'),
    );
    if (misses !== null && this.#children.running === running) this.#losses.probesMissed(misses);
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
}
