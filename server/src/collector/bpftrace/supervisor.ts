import type { LineSource } from '../../stream/source.ts';
import { type CollectorLine, FORMAT_VERSION } from '../../stream/wire.ts';
import type { Clock } from '../../support/clock.ts';
import type { Logger } from '../../support/logger.ts';
import { type HostFacts, loadedModules } from '../host/facts.ts';
import { IdentityWatch } from '../host/identity-watch.ts';
import { countRecursionMisses } from '../host/proc.ts';
import { BpftraceChild, type ChildEnd } from './child.ts';
import { failedFunction, failedLine } from './classify.ts';
import type { FragmentSet } from './fragment.ts';
import type { Launch } from './launch.ts';
import { LineReader } from './line-reader.ts';
import { LossWatch } from './loss-watch.ts';
import { composeForHost, type Plan } from './plan.ts';
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
  logger: Pick<Logger, 'info' | 'warn'>;
}

type RunnablePlan = Extract<Plan, { runnable: true }>;

/** The live source: keeps one bpftrace running and writes the collector's own lines between its lines. */
export class Supervisor implements LineSource {
  readonly kind = 'live';
  readonly name = 'bpftrace';
  private readonly options: SupervisorOptions;
  private readonly identities: IdentityWatch;
  private readonly losses: LossWatch;
  private readonly snapshots: SnapshotScheduler;
  private readonly reader: LineReader;
  private readonly excluded = new Map<string, string>();
  private onLine: (line: string) => void = () => {};
  private generation = 0;
  private child: BpftraceChild | null = null;
  private childReady = false;
  private wasReady = false;
  private plan: RunnablePlan | null = null;
  private modules: ReadonlyMap<string, number> = new Map();
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
      onOwnerExit: () => this.snapshots.request('owner_exit'),
    });
    this.losses = new LossWatch({ emit, onEventsLost: () => this.snapshots.request('loss') });
    this.reader = new LineReader({ identities: this.identities, losses: this.losses });
    this.snapshots = new SnapshotScheduler({
      clock,
      spacingMs: timing.spacingMs,
      take: (cause, signal) => this.snapshot(cause, signal),
    });
  }

  /** Runs until the signal is aborted; then the child is stopped first. To be called once. */
  async run(onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    const { clock, tracer, timing } = this.options;
    this.onLine = onLine;
    // Before the host is asked: what changes meanwhile is seen at the next look.
    this.modules = await loadedModules(this.options.sysRoot);
    const facts = await this.options.inspect();
    const t = clock.bootUs();
    const boot_epoch_us = Math.round(clock.wallMs() * 1000) - t;
    this.emit({
      type: 'header',
      data: { format: FORMAT_VERSION, tracer, kernel: facts.kernel, boot_epoch_us, t },
    });
    const done = new AbortController();
    const stopChild = (): void => this.child?.stop();
    signal.addEventListener('abort', stopChild, { once: true });
    const tasks = [
      this.every(timing.tickMs, done.signal, async () => this.tick()),
      this.every(timing.processesMs, done.signal, () => this.identities.poll()),
      this.every(timing.missesMs, done.signal, () => this.readMisses()),
      this.every(timing.modulesMs, done.signal, () => this.checkModules()),
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
      if (known === null) this.modules = await loadedModules(this.options.sysRoot);
      const facts: HostFacts = known ?? (await inspect());
      known = null;
      const plan = composeForHost(facts, fragments, this.excluded);
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
      if (this.exclude(plan, end)) continue;
      const stable = end.ready && (clock.bootUs() - startedAt) / 1000 >= timing.stableMs;
      failures = stable ? 0 : failures;
      if (end.reason === 'stopped') continue;
      if (end.ready) this.excluded.clear();
      await this.pause(Math.min(timing.restartMaxMs, timing.restartMs * 2 ** failures), signal);
      failures++;
    }
  }

  private async runChild(plan: RunnablePlan, signal: AbortSignal): Promise<ChildEnd> {
    const { clock, launch, logger, timing } = this.options;
    const { composed, bpftrace } = plan;
    this.generation++;
    const { generation, losses } = this;
    losses.childStarted();
    this.identities.forgetDevices();
    this.childReady = false;
    this.emit({
      type: 'child',
      data: {
        t: clock.bootUs(),
        generation,
        state: 'starting',
        bpftrace: bpftrace.version,
        dialect: composed.dialect,
        probes: composed.probes,
      },
    });
    const child = new BpftraceChild({
      launch: launch(bpftrace.path),
      program: composed.program,
      timing,
      onLine: (line) => {
        this.onLine(line);
        this.reader.read(line);
      },
      onReady: () => {
        this.childReady = true;
        logger.info({ generation, dialect: composed.dialect }, 'bpftrace is ready');
        this.snapshots.request(this.wasReady ? 'gap' : 'start');
        this.wasReady = true;
      },
      onDropped: () => losses.lineDropped(),
    });
    this.child = child;
    const ending = child.run();
    if (signal.aborted) child.stop();
    const end = await ending;
    this.child = null;
    this.childReady = false;
    losses.tell(clock.bootUs());
    const { reason, message } = end;
    this.emit({ type: 'child', data: { t: clock.bootUs(), generation, state: 'exited', reason, message } });
    if (reason !== 'stopped') logger.warn({ generation, reason, message }, 'bpftrace has ended');
    return end;
  }

  /** Leaves out, from now on, the fragment that bpftrace names as the reason why it did not start. */
  private exclude(plan: RunnablePlan, end: ChildEnd): boolean {
    if (end.ready || (end.reason !== 'compile_error' && end.reason !== 'function_missing')) return false;
    const { parts } = plan.composed;
    const line = failedLine(end.stderr);
    const functions = parts.flatMap((candidate) => candidate.functions);
    const name = failedFunction(end.stderr, functions);
    const part =
      parts.find(({ firstLine, lastLine }) => line !== null && line >= firstLine && line <= lastLine) ??
      parts.find((candidate) => name !== null && candidate.functions.includes(name));
    if (part === undefined || this.excluded.has(part.probe)) return false;
    this.excluded.set(part.probe, `bpftrace refused it: ${end.message}`);
    return true;
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
    for (const { device, kvm_pid, holders } of snapshot.buffers) {
      this.identities.seeDevice(device);
      this.identities.seeProcess(kvm_pid, true);
      for (const { pid } of holders) this.identities.seeProcess(pid, true);
    }
    await this.identities.settled();
    this.emit({ type: 'snapshot', data: { ...snapshot, cause } });
  }

  private tick(): void {
    const t = this.options.clock.bootUs();
    if (!this.childReady) this.emit({ type: 'tick', data: { t } });
    this.losses.tell(t);
  }

  private async readMisses(): Promise<void> {
    const { child } = this;
    if (child?.pid === undefined || !this.childReady) return;
    const misses = await countRecursionMisses(this.options.procRoot, child.pid);
    if (misses !== null && this.child === child) this.losses.probesMissed(misses);
  }

  /** A module that comes or goes changes what can be probed: the program is made again, and run if it is another one. */
  private async checkModules(): Promise<void> {
    const { sysRoot, fragments, inspect } = this.options;
    const before = this.modules;
    const now = await loadedModules(sysRoot);
    const changed = new Set(
      [...before.keys(), ...now.keys()].filter((name) => before.get(name) !== now.get(name)),
    );
    if (changed.size === 0) return;
    this.modules = now;
    const { child, plan } = this;
    if (child === null || plan === null) {
      this.excluded.clear();
      this.wake();
      return;
    }
    const next = composeForHost(await inspect(), fragments, this.excluded);
    const lost = plan.composed.probes.some(
      ({ attached, module }) => attached && module !== null && changed.has(module),
    );
    if (!lost && next.runnable && next.composed.program === plan.composed.program) return;
    this.excluded.clear();
    if (this.child === child) child.stop('stopped', 'the loaded modules have changed');
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
