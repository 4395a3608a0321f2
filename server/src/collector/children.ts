import { standby } from '../bpftrace/compiler/compose.ts';
import { RunningChild } from '../bpftrace/handover/running-child.ts';
import type { RunnablePlan } from '../bpftrace/plan.ts';
import type { ChildEnd, ChildTiming } from '../bpftrace/process/child.ts';
import type { Launch } from '../bpftrace/process/launch.ts';
import type { Simulation } from '../bpftrace/process/simulation.ts';
import { fixFor } from '../bpftrace/start-failure.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { StreamLine } from '../protocol/stream-line.ts';
import type { CollectorLine } from '../protocol/wire.ts';
import type { LossCounts } from './loss-counts.ts';

export interface ChildrenOptions {
  launch: (path: string) => Launch;
  timing: ChildTiming;
  clock: Pick<Clock, 'bootUs'>;
  logger: Pick<Logger, 'info' | 'warn'>;
  losses: LossCounts;
  /** Faults to inject. */
  simulation: Simulation | undefined;
  emit: (line: CollectorLine) => void;
  /** Called for each line of a child when it arrives, also while lines are buffered. */
  onArrival: (line: StreamLine) => void;
  /** Called for each line of the running child, in order. */
  onLine: (line: StreamLine) => void;
  /** Called before the start of a new running child is reported. */
  onStart: () => void;
  /** Called when a child is ready that was not a standby. */
  onReady: () => void;
}

/** The running child and the standby that is to take over from it: numbers them, and reports their starts and ends. */
export class Children {
  running: RunningChild | null = null;
  /** The plan of the last child; null while the host cannot be traced. */
  plan: RunnablePlan | null = null;
  readonly #options: ChildrenOptions;
  #standby: RunningChild | null = null;
  #generation = 0;

  constructor(options: ChildrenOptions) {
    this.#options = options;
  }

  /** Runs a child and its successors, until one ends without a successor. */
  async run(plan: RunnablePlan, signal: AbortSignal): Promise<ChildEnd> {
    let running = this.#launch(plan, false);
    this.#activate(running);
    for (;;) {
      if (signal.aborted) running.stop();
      const end = await running.ended;
      const { successor } = running;
      this.#reportEnd(running, end);
      if (successor === null) {
        this.running = null;
        return end;
      }
      this.#activate(successor);
      running = successor;
    }
  }

  /** Starts a child whose lines are buffered, and passes it to `use`. */
  async withStandby<T>(plan: RunnablePlan, use: (child: RunningChild) => Promise<T>): Promise<T> {
    const child = this.#launch(plan, true);
    this.#standby = child;
    try {
      return await use(child);
    } finally {
      this.#standby = null;
    }
  }

  stop(): void {
    this.#standby?.stop();
    this.running?.stop();
  }

  #launch(plan: RunnablePlan, held: boolean): RunningChild {
    const { launch, logger, losses, onArrival, onLine, onReady, simulation, timing } = this.#options;
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
        faults: simulation?.child(),
        onArrival,
        onLine,
        onReady: () => {
          logger.info({ generation, dialect: composed.dialect }, 'bpftrace is ready');
          if (!held) onReady();
        },
        onDropped: () => losses.lineDropped('splitter'),
        onHeldDropped: () => losses.lineDropped('queue'),
      },
      held,
    );
  }

  #activate(child: RunningChild): void {
    const { clock, emit, losses, onStart } = this.#options;
    const { plan, generation } = child;
    this.running = child;
    this.plan = plan;
    losses.childStarted();
    onStart();
    emit({
      type: 'child',
      data: {
        t: clock.bootUs(),
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
    const { clock, emit, logger, losses } = this.#options;
    const { reason, message } = end;
    const fix = end.ready ? null : fixFor(reason);
    const t = clock.bootUs();
    losses.report(t);
    const blind = blindSince === null ? {} : { blind_since: blindSince };
    const remedy = fix === null ? {} : { remedy: fix };
    emit({
      type: 'child',
      data: { t, generation, state: 'exited', reason, message, ...remedy, ...blind },
    });
    if (reason !== 'stopped' && reason !== 'handed_over')
      logger.warn({ generation, reason, message }, 'bpftrace has ended');
  }
}
