import type { StreamLine } from '../../protocol/stream-line.ts';
import type { ChildReason } from '../../protocol/wire.ts';
import type { RunnablePlan } from '../plan.ts';
import { BpftraceChild, type ChildEnd, type ChildOptions, type ChildTiming } from '../process/child.ts';
import type { Launch } from '../process/launch.ts';
import { GateWatch } from './gate.ts';

/** A standby prints some dozens of lines per second and waits for some seconds. This many lines need 75 MB. */
const HELD_LIMIT = 200_000;

export interface RunningChildOptions {
  plan: RunnablePlan;
  program: string;
  generation: number;
  launch: Launch;
  timing: ChildTiming;
  faults: ChildOptions['faults'];
  /** Called for each line when it arrives, also while lines are buffered. */
  onArrival: (line: StreamLine) => void;
  /** Called for each line in order; after release() for the buffered ones. */
  onLine: (line: StreamLine) => void;
  onReady: () => void;
  onDropped: () => void;
  /** Called for each line that was dropped because the buffer is full. */
  onHeldDropped: () => void;
  /** Maximum number of buffered lines of a standby; default 200,000. */
  heldLimit?: number;
}

/** One bpftrace child with its plan and the state of its gate. A standby's lines are buffered until it takes over. */
export class RunningChild {
  readonly plan: RunnablePlan;
  readonly generation: number;
  readonly gate = new GateWatch();
  /** Resolves with true when the child is ready, with false if it ends before that. */
  readonly ready: Promise<boolean>;
  readonly ended: Promise<ChildEnd>;
  isReady = false;
  /** The child that took over from this one. */
  successor: RunningChild | null = null;
  /** Microseconds since boot: from here on its probes may be detached, although it was stopped later. */
  blindSince: number | null = null;

  readonly #options: RunningChildOptions;
  readonly #child: BpftraceChild;
  #held: StreamLine[] | null;

  constructor(options: RunningChildOptions, held: boolean) {
    this.#options = options;
    this.plan = options.plan;
    this.generation = options.generation;
    this.#held = held ? [] : null;
    let becomeReady: (ready: boolean) => void = () => {};
    this.ready = new Promise((resolve) => {
      becomeReady = resolve;
    });
    this.#child = new BpftraceChild({
      launch: options.launch,
      program: options.program,
      timing: options.timing,
      faults: options.faults,
      onLine: (line) => this.#receive(line),
      onReady: () => {
        this.isReady = true;
        becomeReady(true);
        options.onReady();
      },
      onDropped: options.onDropped,
    });
    this.ended = this.#child.run().then((end) => {
      this.isReady = false;
      becomeReady(false);
      return end;
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  stop(reason?: ChildReason, message?: string): void {
    this.#child.stop(reason, message);
  }

  /** The child takes over: passes on the buffered lines, and from now on each line when it arrives. */
  release(): void {
    const lines = this.#held ?? [];
    this.#held = null;
    for (const line of lines) this.#options.onLine(line);
  }

  #receive(line: StreamLine): void {
    if (this.gate.receive(line.record)) return;
    this.#options.onArrival(line);
    if (this.#held === null) this.#options.onLine(line);
    else if (this.#held.length < (this.#options.heldLimit ?? HELD_LIMIT)) this.#held.push(line);
    else this.#options.onHeldDropped();
  }
}
