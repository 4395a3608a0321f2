import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TAGS } from '../../stream/codes.ts';
import { decodeLine } from '../../stream/decode.ts';
import { tagOf } from './line-reader.ts';

/** What a program can be told of the calls that are its to count, as compose.ts reads it from the timer slack. */
export type GateOrder = 'from' | 'until' | 'from_the_beginning';
const ORDERS: Readonly<Record<GateOrder, number>> = { from: 1, until: 2, from_the_beginning: 3 };
const ORDER_BITS = 20;
const NS = 1e9;

/**
 * Tells a child, through the timer slack of its process, from or until which second of the kernel's scheduler clock it counts.
 * A slack of 1 to 4 ms is all that bpftrace itself feels of it. Rejects where the kernel does not allow it
 * (CAP_SYS_NICE) or the process is gone.
 */
export async function writeGateCommand(
  procRoot: string,
  pid: number,
  order: GateOrder,
  second = 0,
): Promise<void> {
  const slack = ORDERS[order] * 2 ** ORDER_BITS + (second % 2 ** ORDER_BITS);
  await writeFile(join(procRoot, String(pid), 'timerslack_ns'), String(slack), { flag: 'r+' });
}

/** Listens to what a program prints of its gate: lines between two programs, which nobody else is told. */
export class GateWatch {
  /** The two clocks as the program began, in microseconds since boot and in nanoseconds of the scheduler clock. */
  began: { t: number; clock: number } | null = null;
  /** Seconds of the scheduler clock. */
  from = 0;
  until = Number.POSITIVE_INFINITY;
  /** Calls of this program that had not returned at its last whole read. */
  inFlight = 0;
  /** Whole reads in a row, all begun after `until`, at which nothing was in flight. */
  quietReads = 0;

  private reading: { t: number; inFlight: number; counters: number } | null = null;
  private printed = 0;
  private offsetNs = 0;

  /** True where the line was for us alone. */
  take(line: string): boolean {
    const tag = tagOf(line);
    if (tag === TAGS.counter && this.reading !== null) this.reading.counters++;
    if (tag === TAGS.read_end) this.readEnded(line);
    if (tag !== TAGS.gate && tag !== TAGS.in_flight) return false;
    const record = decodeLine(line);
    if (record.type === 'in_flight' && this.reading !== null) this.reading.inFlight++;
    if (record.type !== 'gate') return true;
    const { t, clock, from, until } = record.data;
    if (clock === 0) {
      this.reading = { t, inFlight: 0, counters: 0 };
      this.from = from / NS;
      this.until = until / NS;
    } else {
      this.began = { t, clock };
      this.offsetNs = clock - t * 1000;
    }
    return true;
  }

  /** The second of the scheduler clock at a time in microseconds since boot. */
  secondAt(bootUs: number): number {
    return (bootUs * 1000 + this.offsetNs) / NS;
  }

  private readEnded(line: string): void {
    const record = decodeLine(line);
    const { reading } = this;
    this.reading = null;
    if (record.type !== 'read_end') return;
    const whole = reading !== null && reading.counters === record.data.lines - this.printed;
    this.printed = record.data.lines;
    if (!whole || this.secondAt(reading.t) <= this.until) {
      this.quietReads = 0;
      return;
    }
    this.inFlight = reading.inFlight;
    this.quietReads = reading.inFlight === 0 ? this.quietReads + 1 : 0;
  }
}
