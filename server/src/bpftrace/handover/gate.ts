import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DecodeFailure, StreamRecord } from '../../protocol/decode.ts';
import type { TupleOf } from '../../protocol/tuples.ts';

/**
 * Sets which calls a program counts. Its bpftrace code reads the command from the timer slack (gateLines() in
 * compose.ts).
 */
export type GateCommand = 'from' | 'until' | 'from_the_beginning';
const COMMANDS: Readonly<Record<GateCommand, number>> = { from: 1, until: 2, from_the_beginning: 3 };
const COMMAND_SHIFT = 20;
const NS = 1e9;

/**
 * Sends a command to a child through the timer slack of its process. The only side effect on bpftrace is a slack of 1
 * to 4 ms.
 *
 * @param second of the kernel's scheduler clock, from or until which the program counts
 * @throws if the kernel does not allow the write (CAP_SYS_NICE), or the process has ended
 */
export async function writeGateCommand(
  procRoot: string,
  pid: number,
  command: GateCommand,
  second = 0,
): Promise<void> {
  const slack = COMMANDS[command] * 2 ** COMMAND_SHIFT + (second % 2 ** COMMAND_SHIFT);
  await writeFile(join(procRoot, String(pid), 'timerslack_ns'), String(slack), { flag: 'r+' });
}

/** Tracks the gate of one program from the gate records that it prints. Only the handover needs these records. */
export class GateWatch {
  /**
   * Both clocks at the start of the program: `t` in microseconds since boot, `clock` in nanoseconds of the scheduler
   * clock.
   */
  began: { t: number; clock: number } | null = null;
  /** Seconds of the scheduler clock. */
  from = 0;
  until = Number.POSITIVE_INFINITY;
  /** Calls of this program that had not returned at its last complete read. */
  inFlight = 0;
  /** Consecutive complete reads, all started after `until`, that found no call in flight. */
  quietReads = 0;

  #reading: { t: number; inFlight: number; counters: number } | null = null;
  #printed = 0;
  #offsetNs = 0;

  /** Returns true for a gate record, which must not be passed on. */
  receive(record: StreamRecord | DecodeFailure): boolean {
    switch (record.type) {
      case 'gate':
        this.#gateRead(record.data);
        return true;
      case 'in_flight':
        if (this.#reading !== null) this.#reading.inFlight++;
        return true;
      case 'counter':
        this.#counterArrived();
        return false;
      case 'failure':
        // A counter that cannot be decoded has arrived too.
        if (record.reason === 'bad_map') this.#counterArrived();
        return false;
      case 'read_end':
        this.#readEnded(record.data.lines);
        return false;
      default:
        return false;
    }
  }

  /** Converts microseconds since boot to seconds of the scheduler clock. */
  secondAt(bootUs: number): number {
    return (bootUs * 1000 + this.#offsetNs) / NS;
  }

  #gateRead({ t, clock, from, until }: TupleOf<'gate'>['data']): void {
    if (clock === 0) {
      this.#reading = { t, inFlight: 0, counters: 0 };
      this.from = from / NS;
      this.until = until / NS;
    } else {
      this.began = { t, clock };
      this.#offsetNs = clock - t * 1000;
    }
  }

  #counterArrived(): void {
    if (this.#reading !== null) this.#reading.counters++;
  }

  #readEnded(printed: number): void {
    const reading = this.#reading;
    this.#reading = null;
    const complete = reading !== null && reading.counters === printed - this.#printed;
    this.#printed = printed;
    if (!complete || this.secondAt(reading.t) <= this.until) {
      this.quietReads = 0;
      return;
    }
    this.inFlight = reading.inFlight;
    this.quietReads = reading.inFlight === 0 ? this.quietReads + 1 : 0;
  }
}
