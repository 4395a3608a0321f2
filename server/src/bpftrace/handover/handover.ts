import type { Clock } from '../../lib/clock.ts';
import { type GateCommand, writeGateCommand } from './gate.ts';
import type { RunningChild } from './running-child.ts';

export interface HandoverOptions {
  from: RunningChild;
  /** Started as a standby: its lines are buffered until it takes over. */
  to: RunningChild;
  clock: Clock;
  procRoot: string;
  /** Forces one context switch on each processor. Resolves with the number of processors without one. */
  quiesceCpus: () => Promise<number>;
  timing: HandoverTiming;
  signal: AbortSignal;
}

export interface HandoverTiming {
  /** Milliseconds between the first command and the cut. */
  cutAheadMs: number;
  /** How often a program reads its gate command. */
  commandPollMs: number;
  /** Longest wait, after the cut, for calls that the old program still has in flight. */
  drainMs: number;
}

/**
 * Success, or the reason why the old program continues. `lost` is the number of calls whose count is uncertain:
 * - the calls in flight when the wait for the old program ended;
 * - one, if the `until` command may have arrived after the cut;
 * - one for each processor without a context switch: neither program may count the calls of its task.
 */
export type HandoverEnd = { done: true; lost: number } | { done: false; why: string };

const ENDED: HandoverEnd = { done: false, why: 'one of the two programs has ended' };
/** After this many reads without a call in flight, the old program has nothing left to count. */
const QUIET_READS = 2;
/**
 * Maximum difference, in seconds, of scheduler clock and boot clock: a command has only the low 20 bits of a second.
 */
const MAX_CLOCK_DIFFERENCE = 2 ** 18;

/**
 * Hands over from one attached program to another. Before the cut, a moment in the near future, only the old program
 * counts. After it, only the new program counts, so each call is counted once. Returns when the old program has nothing
 * left to count. The caller then stops the old program and releases the lines of the new one.
 */
export async function handOver(options: HandoverOptions): Promise<HandoverEnd> {
  const { from, to, clock, timing, signal } = options;
  const send = async (child: RunningChild, command: GateCommand, second?: number): Promise<void> => {
    if (child.pid === undefined) throw new Error('bpftrace has ended');
    await writeGateCommand(options.procRoot, child.pid, command, second);
  };
  if (!(await to.ready)) return { done: false, why: 'the new program did not start' };
  const { began } = to.gate;
  if (began === null) return { done: false, why: 'the new program did not print its clock' };
  if (Math.abs(to.gate.secondAt(began.t) - began.t / 1e6) > MAX_CLOCK_DIFFERENCE) {
    return { done: false, why: 'scheduler clock and boot clock differ too much' };
  }
  const cut = Math.ceil(to.gate.secondAt(clock.bootUs() + timing.cutAheadMs * 1000));
  const isLate = (spareMs: number): boolean => to.gate.secondAt(clock.bootUs() + spareMs * 1000) >= cut;
  let uncertain = 0;
  try {
    // This command changes nothing. It shows that the old program accepts commands, before the new one gets any.
    await send(from, 'from_the_beginning');
    await send(to, 'from', cut);
    while (to.gate.from !== cut) {
      if (isLate(2 * timing.commandPollMs))
        return { done: false, why: 'the new program did not read its command in time' };
      if (signal.aborted || !to.isReady) return { done: false, why: 'the new program has ended' };
      await clock.sleep(20, signal);
    }
    await send(from, 'until', cut);
    // The old program may read this command after the cut. Both programs count until then.
    if (isLate(timing.commandPollMs)) uncertain = 1;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { done: false, why: `a gate command cannot be written: ${message}` };
  }
  const giveUpAt = clock.bootUs() + (timing.cutAheadMs + timing.drainMs) * 1000;
  const hasEnded = (): boolean => signal.aborted || !from.isReady || !to.isReady;
  while (!isLate(0)) {
    if (hasEnded()) return ENDED;
    await clock.sleep(20, signal);
  }
  // The calls of a task belong to the old program as long as its sched_info.last_arrival is before the cut. A context
  // switch on each processor renews that time.
  uncertain += await options.quiesceCpus();
  from.gate.quietReads = 0;
  while (from.gate.quietReads < QUIET_READS && clock.bootUs() < giveUpAt) {
    if (hasEnded()) return ENDED;
    await clock.sleep(50, signal);
  }
  const inFlight = from.gate.quietReads < QUIET_READS ? from.gate.inFlight : 0;
  return { done: true, lost: inFlight + uncertain };
}
