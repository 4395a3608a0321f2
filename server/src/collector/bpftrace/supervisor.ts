import type { LineSource } from '../../stream/source.ts';
import { type CollectorLine, FORMAT_VERSION } from '../../stream/wire.ts';
import type { Clock } from '../../support/clock.ts';
import type { Logger } from '../../support/logger.ts';
import type { HostFacts } from '../host/facts.ts';
import { IdentityWatch } from '../host/identity-watch.ts';
import { ModuleWatch } from '../host/module-watch.ts';
import { countRecursionMisses } from '../host/proc.ts';
import { visitProcessors } from '../host/processors.ts';
import type { ChildEnd } from './child.ts';
import { standby } from './compose.ts';
import type { FragmentSet } from './fragment.ts';
import { tellGate } from './gate.ts';
import { handOver } from './hand-over.ts';
import type { Launch } from './launch.ts';
import { LineReader } from './line-reader.ts';
import { LiveBuffers } from './live-buffers.ts';
import { LossWatch } from './loss-watch.ts';
import { moduleChange } from './module-change.ts';
import { composeForHost, type Plan, type RunnablePlan, VFIO_MODULE } from './plan.ts';
import { Refusals } from './refusals.ts';
import { RunningChild } from './running-child.ts';
import type { Simulation } from './simulation.ts';
import { takeSnapshot } from './snapshot.ts';
import { type SnapshotCause, SnapshotScheduler } from './snapshot-scheduler.ts';
import type { SupervisorTiming } from './timing.ts';

export interface SupervisorOptions {
  fragments: FragmentSet;
  /** Version of this program, for the header. */
  tracer: string;
  inspect: () => Promise<HostFacts>;
  launch: (path: string) => Launch;
  clock: Clock;
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
  private readonly refusals = new Refusals();
  private readonly modules: ModuleWatch;
  private modulesLookedAt = 0;
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
    const { clock, procRoot, sysRoot, timing } = options;
    this.identities = new IdentityWatch({
      procRoot,
      sysRoot,
      bootUs: () => clock.bootUs(),
      emit,
      // A snapshot is a bpftrace of its own: it is taken only where the process may have left a buffer behind.
      onOwnerExit: () => this.buffers.any && this.snapshots.request('owner_exit'),
    });
    this.modules = new ModuleWatch(sysRoot);
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
    await this.lookAtModules();
    const facts = await this.options.inspect();
    const t = clock.bootUs();
    const boot_epoch_us = Math.round(clock.wallMs() * 1000) - t;
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
    } finally {
      signal.removeEventListener('abort', stopChild);
      done.abort();
      await Promise.allSettled(tasks);
      this.onLine = () => {};
    }
  }

  private async keepRunning(first: HostFacts, signal: AbortSignal): Promise<void> {
    const { timing, inspect, fragments, clock } = this.options;
    let failures = 0;
    let said = '';
    let known: HostFacts | null = first;
    while (!signal.aborted) {
      if (known === null) await this.lookAtModules();
      const facts: HostFacts = known ?? (await inspect());
      known = null;
      const plan = composeForHost(facts, fragments, this.refusals.reasons);
      if (!plan.runnable) {
        this.plan = null;
        if (plan.failure.message !== said) this.sayUnavailable(plan);
        said = plan.failure.message;
        await this.pause(timing.unavailableMs, signal);
        continue;
      }
      said = '';
      this.plan = plan;
      const startedAt = clock.bootUs();
      const end = await this.runChild(plan, signal);
      if (signal.aborted) return;
      if (this.refusals.note(plan, end)) continue;
      const stable = end.ready && (clock.bootUs() - startedAt) / 1000 >= timing.stableMs;
      failures = stable ? 0 : failures;
      if (end.reason === 'stopped') continue;
      if (end.ready) this.refusals.clear();
      await this.pause(Math.min(timing.restartMaxMs, timing.restartMs * 2 ** failures), signal);
      failures++;
    }
  }

  /** Runs a child and those that take over from it, until one ends that nobody follows. */
  private async runChild(plan: RunnablePlan, signal: AbortSignal): Promise<ChildEnd> {
    let running = this.launch(plan, false);
    this.takesItsTurn(running);
    for (;;) {
      if (signal.aborted) running.stop();
      const end = await running.ended;
      const { successor } = running;
      this.sayEnded(running, end);
      if (successor === null) {
        this.running = null;
        return end;
      }
      this.takesItsTurn(successor);
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

  private takesItsTurn(child: RunningChild): void {
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

  private sayEnded({ generation, deadSince }: RunningChild, { reason, message }: ChildEnd): void {
    const t = this.options.clock.bootUs();
    this.losses.tell(t);
    const blind = deadSince === null ? {} : { blind_since: deadSince };
    this.emit({ type: 'child', data: { t, generation, state: 'exited', reason, message, ...blind } });
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
    this.emit({ type: 'snapshot', data: { ...snapshot, cause } });
  }

  private tick(): void {
    const t = this.options.clock.bootUs();
    if (this.running?.isReady !== true) this.emit({ type: 'tick', data: { t } });
    this.losses.tell(t);
  }

  private async readMisses(): Promise<void> {
    const { running } = this;
    if (running?.pid === undefined || !running.isReady) return;
    const misses = await countRecursionMisses(this.options.procRoot, running.pid);
    if (misses !== null && this.running === running) this.losses.probesMissed(misses);
  }

  /** What has changed since the look before, and when that was. Between the two looks it may have happened at any time. */
  private async lookAtModules(): Promise<{ changed: ReadonlySet<string>; since: number }> {
    const since = this.modulesLookedAt;
    this.modulesLookedAt = this.options.clock.bootUs();
    return { changed: await this.modules.look(), since };
  }

  /** A module that comes or goes changes what can be probed: the program is made again, and takes over if it is another one. */
  private async checkModules(signal: AbortSignal): Promise<void> {
    const { fragments, inspect, clock } = this.options;
    const { changed, since } = await this.lookAtModules();
    if (changed.size === 0) return;
    const { running } = this;
    this.refusals.clear();
    if (running === null) {
      this.wake();
      return;
    }
    const { generation } = running;
    const { composed } = running.plan;
    const plan = composeForHost(await inspect(), fragments, this.refusals.reasons);
    const next = plan.runnable ? plan.composed : null;
    const touched = moduleChange(composed.probes, next?.probes ?? [], changed);
    if (touched === null && next?.program === composed.program) return;
    const change = 'the loaded modules have changed';
    // Without its module there are no buffers, and the probes on it are dead.
    if (!plan.runnable || changed.has(VFIO_MODULE)) {
      if (changed.has(VFIO_MODULE)) running.deadSince = since;
      running.stop('stopped', change);
      return;
    }
    if (touched !== null) {
      const { probes, blind } = touched;
      const unseen = blind.length === 0 ? {} : { blind, blind_since: since };
      const t = clock.bootUs();
      this.emit({ type: 'child', data: { t, generation, state: 'changed', probes, ...unseen } });
    }
    const why = await this.replace(running, plan, signal);
    if (why === null || signal.aborted) return;
    this.options.logger.warn({ why }, 'bpftrace is stopped and started: it could not hand over');
    running.stop('stopped', `${change}; no hand-over: ${why}`);
  }

  /** Starts a program beside the running one and lets it take over; gives why it could not. */
  private async replace(
    running: RunningChild,
    plan: RunnablePlan,
    signal: AbortSignal,
  ): Promise<string | null> {
    if (!running.plan.composed.gated || !plan.composed.gated) return 'the kernel lacks what it needs';
    const { clock, procRoot, sysRoot, timing, fragments, inspect, logger } = this.options;
    const next = this.launch(plan, true);
    this.next = next;
    const end = await handOver({
      from: running,
      to: next,
      clock,
      procRoot,
      visitProcessors: () => visitProcessors(sysRoot),
      timing,
      signal,
    });
    this.next = null;
    if (!end.done) {
      next.stop();
      const failed = await next.ended;
      if (!running.isReady || !this.refusals.note(plan, failed)) return end.why;
      const without = composeForHost(await inspect(), fragments, this.refusals.reasons);
      return without.runnable ? this.replace(running, without, signal) : end.why;
    }
    await this.readMisses();
    this.losses.callsLeft(end.lost);
    running.successor = next;
    running.stop('handed_over', `generation ${next.generation} has taken over`);
    logger.info({ generation: next.generation, lost: end.lost }, 'bpftrace has handed over');
    await running.ended;
    if (next.pid !== undefined) await tellGate(procRoot, next.pid, 'from_the_beginning').catch(() => {});
    this.requestSnapshot();
    return null;
  }

  private async every(ms: number, signal: AbortSignal, task: () => Promise<void>): Promise<void> {
    for (;;) {
      await this.options.clock.sleep(ms, signal);
      if (signal.aborted) return;
      await task().catch((error: unknown) => {
        this.options.logger.warn({ err: error }, 'a periodic look at the host has failed');
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
