import type { ChildReason } from '../../stream/wire.ts';
import { BpftraceChild, type ChildEnd, type ChildOptions, type ChildTiming } from './child.ts';
import { GateWatch } from './gate.ts';
import type { Launch } from './launch.ts';
import { isEvent } from './line-reader.ts';
import type { RunnablePlan } from './plan.ts';

/** Lines of a program that waits for its turn; a second has some dozens, and it waits for some seconds. */
const HELD_LINES = 200_000;

export interface RunningChildOptions {
  plan: RunnablePlan;
  program: string;
  generation: number;
  launch: Launch;
  timing: ChildTiming;
  faults: ChildOptions['faults'];
  /** Each line as it comes, also while it is held. */
  onArrival: (line: string) => void;
  /** Each line in its turn. */
  onLine: (line: string) => void;
  onReady: () => void;
  onDropped: () => void;
  /** A held event had to be given up. */
  onHeldDropped: () => void;
}

/** One child with what it runs and what it says of its gate. Its lines can be held back until its turn comes. */
export class RunningChild {
  readonly plan: RunnablePlan;
  readonly generation: number;
  readonly gate = new GateWatch();
  /** When it had started and was ready (true), or had ended before (false). */
  readonly ready: Promise<boolean>;
  readonly ended: Promise<ChildEnd>;
  isReady = false;
  /** The child that took over from this one. */
  successor: RunningChild | null = null;
  /** Microseconds since boot: all its probes may have died then, before it was told to end. */
  deadSince: number | null = null;

  private readonly options: RunningChildOptions;
  private readonly child: BpftraceChild;
  private held: string[] | null;

  constructor(options: RunningChildOptions, held: boolean) {
    this.options = options;
    this.plan = options.plan;
    this.generation = options.generation;
    this.held = held ? [] : null;
    let becomeReady: (ready: boolean) => void = () => {};
    this.ready = new Promise((resolve) => {
      becomeReady = resolve;
    });
    this.child = new BpftraceChild({
      launch: options.launch,
      program: options.program,
      timing: options.timing,
      faults: options.faults,
      onLine: (line) => this.take(line),
      onReady: () => {
        this.isReady = true;
        becomeReady(true);
        options.onReady();
      },
      onDropped: options.onDropped,
    });
    this.ended = this.child.run().then((end) => {
      this.isReady = false;
      becomeReady(false);
      return end;
    });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  stop(reason?: ChildReason, message?: string): void {
    this.child.stop(reason, message);
  }

  /** Its turn has come: what was held back is handed on, and from now on each line as it comes. */
  release(): void {
    const lines = this.held ?? [];
    this.held = null;
    for (const line of lines) this.options.onLine(line);
  }

  private take(line: string): void {
    if (this.gate.take(line)) return;
    this.options.onArrival(line);
    if (this.held === null) this.options.onLine(line);
    else if (this.held.length < HELD_LINES) this.held.push(line);
    else if (isEvent(line)) this.options.onHeldDropped();
  }
}
