import type { Clock } from '../../support/clock.ts';
import { type GateOrder, writeGateCommand } from './gate.ts';
import type { RunningChild } from './running-child.ts';

export interface HandoverOptions {
  from: RunningChild;
  /** Started as a standby, its lines held. */
  to: RunningChild;
  clock: Clock;
  procRoot: string;
  /** Makes what runs on each processor give way once; resolves with how many did not. */
  quiesceCpus: () => Promise<number>;
  timing: HandoverTiming;
  signal: AbortSignal;
}

export interface HandoverTiming {
  /** From the first order to the moment that the orders are for. */
  cutAheadMs: number;
  /** How often a program looks at its orders. */
  ordersMs: number;
  /** Longest wait, after that moment, for the calls that the old program still has in flight. */
  drainMs: number;
}

/**
 * How it ended: how many calls were still in flight when the old program was given up (one more where the order may have come
 * too late for a clean cut, and for each processor whose task may count with nobody), or why the old one keeps its work.
 */
export type HandoverEnd = { done: true; lost: number } | { done: false; why: string };

const ENDED: HandoverEnd = { done: false, why: 'a program has ended' };
/** Reads of the old program, without a call in flight, that show that it has counted its last. */
const QUIET_READS = 2;
/** Seconds that the scheduler's clock and the clock since boot may differ: a program knows only the low bits of a second. */
const CLOCKS_APART = 2 ** 18;

/**
 * Lets one program count up to a moment and another from that moment on, both attached: each call belongs to exactly one.
 * Returns when the old one has nothing more to count; the caller stops it and lets the new one speak.
 */
export async function handOver(options: HandoverOptions): Promise<HandoverEnd> {
  const { from, to, clock, timing, signal } = options;
  const tell = async (child: RunningChild, order: GateOrder, second?: number): Promise<void> => {
    if (child.pid === undefined) throw new Error('bpftrace has ended');
    await writeGateCommand(options.procRoot, child.pid, order, second);
  };
  if (!(await to.ready)) return { done: false, why: 'the new program did not start' };
  const { began } = to.gate;
  if (began === null) return { done: false, why: 'the new program did not print its clock' };
  if (Math.abs(to.gate.secondAt(began.t) - began.t / 1e6) > CLOCKS_APART) {
    return { done: false, why: 'the clock of the scheduler is too far from the clock since boot' };
  }
  const cut = Math.ceil(to.gate.secondAt(clock.bootUs() + timing.cutAheadMs * 1000));
  const isLate = (spareMs: number): boolean => to.gate.secondAt(clock.bootUs() + spareMs * 1000) >= cut;
  let doubtful = 0;
  try {
    // An order that changes nothing: shows that the old program can be told at all before the new one is.
    await tell(from, 'from_the_beginning');
    await tell(to, 'from', cut);
    while (to.gate.from !== cut) {
      if (isLate(2 * timing.ordersMs))
        return { done: false, why: 'the new program did not get its command in time' };
      if (signal.aborted || !to.isReady) return { done: false, why: 'the new program has ended' };
      await clock.sleep(20, signal);
    }
    await tell(from, 'until', cut);
    // It may look at its order only after the moment, and both count till then.
    if (isLate(timing.ordersMs)) doubtful = 1;
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    return { done: false, why: `the programs cannot get a command: ${said}` };
  }
  const giveUpAt = clock.bootUs() + (timing.cutAheadMs + timing.drainMs) * 1000;
  const hasEnded = (): boolean => signal.aborted || !from.isReady || !to.isReady;
  while (!isLate(0)) {
    if (hasEnded()) return ENDED;
    await clock.sleep(20, signal);
  }
  // A task that came onto its processor before the moment and has not left it since is the old program's, however long it runs.
  doubtful += await options.quiesceCpus();
  from.gate.quietReads = 0;
  while (from.gate.quietReads < QUIET_READS && clock.bootUs() < giveUpAt) {
    if (hasEnded()) return ENDED;
    await clock.sleep(50, signal);
  }
  const inFlight = from.gate.quietReads < QUIET_READS ? from.gate.inFlight : 0;
  return { done: true, lost: inFlight + doubtful };
}
