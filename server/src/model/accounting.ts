import { EVENT_KINDS, type EventKind } from '../contract/events.ts';
import { LOSS_STAGES } from '../protocol/codes.ts';
import { DECODE_REASONS, type DecodeReason, mayBeEvent } from '../protocol/decode.ts';
import { RingLoss } from '../protocol/ring-loss.ts';
import {
  CHILD_REASONS,
  type ChildReason,
  HOST_SOURCES,
  type HostError,
  type Joined,
  type Loss,
} from '../protocol/wire.ts';
import { BlindTime } from './blind-time.ts';
import { CountGap } from './count-gap.ts';

/** Where events or counts can be lost: in the kernel's ring, or at a stage that the collector reports. */
const ALL_LOSS_STAGES = ['kernel_ring', ...LOSS_STAGES] as const;
export type LossStage = (typeof ALL_LOSS_STAGES)[number];

export type State = 'waiting' | 'starting' | 'tracing' | 'blind' | 'unavailable';

/** The most probe names that are kept. A program has a few dozen. */
export const PROBES_LIMIT = 1024;

/** Event accounting of one bpftrace child. */
interface ChildAccount {
  startedAt: number;
  lastBeatAt: number | null;
  /** True once `emitted` and `arrived` count from the same point: after `ready`, or after the first heartbeat. */
  whole: boolean;
  /** Events that it had emitted before the first one was received. */
  emittedBefore: number;
  emitted: number;
  arrived: number;
  /** Events missing at the last heartbeat and not counted as lost. */
  unaccounted: number;
  ring: RingLoss;
  collectorDropsBefore: number;
  /**
   * Counter lines received; `lastRead`: lines received and lines printed at the last `read_end`. `counterLinesBefore`:
   * lines printed before the first one was received, and lines that the relay dropped; null until a `read_end`.
   */
  counterLines: number;
  counterLinesBefore: number | null;
  lastRead: { received: number; printed: number };
  counterLoss: RingLoss;
}

function zeros<K extends string>(keys: readonly K[]): Record<K, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>;
}

/**
 * Counts events emitted, received and lost, and blind time, over all children. It reads no clock: all times come from
 * the stream.
 */
export class Accounting {
  state: State = 'waiting';
  generation = 0;
  /** Latest time in the stream, microseconds since boot. */
  now = 0;
  /** When the counters were last read; null before the first read. */
  lastReadAt: number | null = null;
  /** Time of the last loss or blind moment. State that is not confirmed after it is inexact. */
  lastLossAt = 0;
  helperErrors = 0;
  lossReports = 0;
  readonly countGap = new CountGap();
  unknownRecords = 0;
  readonly eventsByKind = zeros(EVENT_KINDS);
  readonly decodeErrors = zeros(DECODE_REASONS);
  readonly restarts = zeros(CHILD_REASONS);
  /** Failed reads of the host, over all collectors. */
  readonly hostErrors = zeros(HOST_SOURCES);

  #child: ChildAccount | null = null;
  #everReady = false;
  #endedBy: ChildReason | null = null;
  #blind = new BlindTime();
  /** Start of the current uninterrupted tracing, across handovers. */
  #tracingSince = 0;
  #probeBlindTimes = new Map<string, BlindTime>();
  /** Probes of the running child that are not attached, and since when. */
  #blindProbes = new Map<string, number>();
  #past = { emitted: 0, ringLost: 0, counterLines: 0 };
  #lossLines = zeros(LOSS_STAGES);
  #lossLast = zeros(LOSS_STAGES);
  #hostErrorsLast = zeros(HOST_SOURCES);
  #fullMapErrors = 0;

  get blindSeconds(): number {
    return this.#blind.micros / 1e6;
  }

  /** Seconds in which this probe was not attached. The time in which nothing was traced is not included. */
  probeBlindSeconds(probe: string): number {
    return (this.#probeBlindTimes.get(probe)?.micros ?? 0) / 1e6;
  }

  get eventsReceived(): number {
    return Object.values(this.eventsByKind).reduce((sum, count) => sum + count, 0);
  }

  get eventsEmitted(): number {
    return this.#past.emitted + (this.#child === null ? 0 : this.#child.emitted - this.#child.emittedBefore);
  }

  /**
   * Events emitted up to the last heartbeat that were neither received nor counted as lost; 0 once the child has ended.
   */
  get eventsUnaccounted(): number {
    return this.#child?.unaccounted ?? 0;
  }

  /** Counter lines that were printed, but were missing at two reads in a row. */
  get counterLinesLost(): number {
    return this.#past.counterLines + (this.#child?.counterLoss.lost ?? 0);
  }

  get losses(): Record<LossStage, number> {
    return {
      kernel_ring: this.#past.ringLost + (this.#child?.ring.lost ?? 0),
      ...this.#lossLines,
      // The collector may report these losses and also pass on bpftrace's messages about them: do not add them up.
      map_full: Math.max(this.#lossLines.map_full, this.#fullMapErrors),
    };
  }

  /** Advances the time of the stream. */
  seen(t: number): void {
    if (t > this.now) this.now = t;
  }

  /** The stream comes from another collector or connection: anything before may have been lost. */
  header(t: number): void {
    this.seen(t);
    this.#lossLast = zeros(LOSS_STAGES);
    this.#hostErrorsLast = zeros(HOST_SOURCES);
    this.#joinedMidway();
    this.#lost(t);
  }

  /** The stream continues after this line. Nobody has counted the events in lines that it does not keep any more. */
  joined({ t, missed }: Joined): void {
    this.seen(t);
    this.#lossLast.relay = 0;
    if (missed === 0) return;
    this.countGap.begin();
    this.#joinedMidway();
    this.#lost(t);
  }

  childStarting(t: number): void {
    this.seen(t);
    if (this.#child !== null) this.childExited(t, 'stopped');
    this.countGap.childChanged();
    if (this.#endedBy !== null && this.generation > 0) this.restarts[this.#endedBy] += 1;
    this.#endedBy = null;
    this.generation += 1;
    this.#child = this.#newChild(t);
    // After a handover the new child has been attached since before the old one ended.
    if (this.state === 'tracing') {
      this.#closeBlindProbes(t);
      return;
    }
    this.#blind.advance(t);
    this.state = this.#everReady ? 'blind' : 'starting';
  }

  /** @param blindSince the earliest time at which its probes were detached, if that happened before it ended */
  childExited(t: number, reason: ChildReason, blindSince?: number): void {
    this.seen(t);
    this.#endedBy = reason;
    this.countGap.childChanged();
    if (reason !== 'handed_over') {
      if (this.#child !== null) this.#openBlind(this.#child, blindSince);
      this.state = 'blind';
      this.#lost(t);
    }
    if (this.#child === null) {
      // The line of its start was missed.
      if (reason !== 'handed_over') this.#blind.open(t);
      return;
    }
    // Events that are missing now can no longer arrive.
    if (this.#child.ring.heartbeat(this.#missing(this.#child))) this.#lost(t);
    this.#past.emitted += this.#child.emitted - this.#child.emittedBefore;
    this.#past.ringLost += this.#child.ring.lost;
    this.#past.counterLines += this.#child.counterLoss.lost;
    this.#child = null;
  }

  childUnavailable(t: number, reason: ChildReason): void {
    this.seen(t);
    if (this.#child !== null) this.childExited(t, reason);
    this.#endedBy = reason;
    this.#blind.open(t);
    this.#blind.advance(t);
    this.#lost(t);
    this.state = 'unavailable';
  }

  tick(t: number): void {
    this.seen(t);
    this.#blind.advance(t);
  }

  ready(t: number): void {
    this.seen(t);
    this.#child ??= this.#newChild(t);
    this.#child.whole = true;
    this.#child.counterLinesBefore ??= 0;
    this.#tracing(t);
  }

  heartbeat(t: number, emitted: number): void {
    this.seen(t);
    const child = this.#runningChild(t);
    if (child === null) return;
    if (this.state !== 'tracing') this.#tracing(t);
    if (!child.whole) {
      child.whole = true;
      child.emittedBefore = 0;
      child.emittedBefore = Math.max(0, this.#missing({ ...child, emitted }) - child.ring.lost);
    }
    child.lastBeatAt = t;
    this.#advanceBlindProbes(t);
    child.emitted = Math.max(child.emitted, emitted);
    const missing = this.#missing(child);
    if (child.ring.heartbeat(missing)) this.#lost(t);
    child.unaccounted = Math.max(0, missing - child.ring.lost);
  }

  event(kind: EventKind, t: number): void {
    this.seen(t);
    this.eventsByKind[kind] += 1;
    const child = this.#runningChild(t);
    if (child !== null) child.arrived += 1;
  }

  counterLine(): void {
    if (this.#child !== null) this.#child.counterLines += 1;
  }

  /**
   * The end of one read of all counters. Returns true, and updates `lastReadAt`, only if none of its lines was lost.
   */
  readEnd(t: number, printed: number): boolean {
    this.seen(t);
    this.countGap.read();
    if (this.#child === null) return false;
    const { counterLines: received, lastRead } = this.#child;
    const whole = received - lastRead.received >= printed - lastRead.printed;
    if (whole) this.lastReadAt = Math.max(this.lastReadAt ?? 0, t);
    this.#child.lastRead = { received, printed };
    this.#child.counterLinesBefore ??= printed - received - this.#child.counterLoss.lost;
    const missing = printed - received - this.#child.counterLinesBefore;
    this.#child.counterLoss.heartbeat(Math.max(0, missing));
    return whole;
  }

  /** Probes of the running child were detached or are not attached yet: their events may be missing. */
  probesChanged(t: number, blind: readonly string[] = [], since = t): void {
    this.seen(t);
    this.#lost(t);
    for (const probe of blind) {
      if (this.#blindProbes.size < PROBES_LIMIT && !this.#blindProbes.has(probe))
        this.#blindProbes.set(probe, since);
    }
  }

  /** The return of calls was missed, so their events were never printed. */
  returnsMissed(): void {
    this.#lost(this.now);
  }

  decodeFailure(reason: DecodeReason): void {
    this.decodeErrors[reason] += 1;
    if (mayBeEvent(reason) && this.#child !== null) this.#child.arrived += 1;
    this.#lost(this.now);
  }

  helperError(mapFull: boolean): void {
    this.helperErrors += 1;
    if (!mapFull) return;
    this.#fullMapErrors += 1;
    this.#lost(this.now);
  }

  lossReport(): void {
    this.lossReports += 1;
    this.#lost(this.now);
  }

  loss({ t, stage, count }: Loss): void {
    this.seen(t);
    const last = this.#lossLast[stage];
    const growth = count >= last ? count - last : count;
    this.#lossLast[stage] = count;
    // The relay has dropped counter lines too. They are not lost: the next read repeats them.
    if (stage === 'relay' && this.#child !== null) this.#child.counterLinesBefore = null;
    if (growth === 0) return;
    this.#lossLines[stage] += growth;
    this.#lost(t);
  }

  hostError({ t, source, count }: HostError): void {
    this.seen(t);
    const last = this.#hostErrorsLast[source];
    this.hostErrors[source] += count >= last ? count - last : count;
    this.#hostErrorsLast[source] = count;
  }

  #lost(t: number): void {
    this.lastLossAt = Math.max(this.lastLossAt, t);
  }

  #tracing(t: number): void {
    if (this.state === 'tracing') return;
    this.#blind.close(t);
    this.#tracingSince = t;
    this.#everReady = true;
    this.state = 'tracing';
    this.#lost(t);
  }

  #openBlind({ lastBeatAt, startedAt }: ChildAccount, since = Number.POSITIVE_INFINITY): void {
    const from = lastBeatAt === null ? startedAt : Math.min(lastBeatAt, Math.max(since, this.#tracingSince));
    if (this.state === 'tracing') this.#closeBlindProbes(from);
    this.#blindProbes.clear();
    this.#blind.open(from);
  }

  /**
   * Extends the blind time of these probes to `t`. It begins with the tracing at the earliest: before that, nothing was
   * traced.
   */
  #advanceBlindProbes(t: number): void {
    for (const [probe, since] of this.#blindProbes) {
      const known = this.#probeBlindTimes.get(probe);
      if (known === undefined && this.#probeBlindTimes.size >= PROBES_LIMIT) continue;
      const time = known ?? new BlindTime();
      this.#probeBlindTimes.set(probe, time);
      time.open(Math.max(since, this.#tracingSince));
      time.advance(t);
    }
  }

  /** Ends the blind time of these probes at `t`: from then on all probes are attached, or none is. */
  #closeBlindProbes(t: number): void {
    this.#advanceBlindProbes(t);
    for (const probe of this.#blindProbes.keys()) this.#probeBlindTimes.get(probe)?.close(t);
    this.#blindProbes.clear();
  }

  /** Events of the running child may have been emitted that nobody has counted: its next heartbeat is the new start. */
  #joinedMidway(): void {
    if (this.#child === null) return;
    this.#child.whole = false;
    this.#child.counterLinesBefore = null;
  }

  /** Events missing from the ring. Events that the collector dropped had left the ring, so they are not included. */
  #missing(child: ChildAccount): number {
    const drops = this.#collectorDrops() - child.collectorDropsBefore;
    return Math.max(0, child.emitted - child.emittedBefore - child.arrived - drops);
  }

  #collectorDrops(): number {
    return this.#lossLines.splitter + this.#lossLines.queue + this.#lossLines.relay;
  }

  #newChild(t: number): ChildAccount {
    return {
      startedAt: t,
      lastBeatAt: null,
      whole: false,
      emittedBefore: 0,
      emitted: 0,
      arrived: 0,
      unaccounted: 0,
      ring: new RingLoss(),
      collectorDropsBefore: this.#collectorDrops(),
      counterLines: 0,
      counterLinesBefore: null,
      lastRead: { received: 0, printed: 0 },
      counterLoss: new RingLoss(),
    };
  }

  /** The running child, also if the line of its start was missed. Null for a late line of a child that has ended. */
  #runningChild(t: number): ChildAccount | null {
    if (this.#child === null && this.#endedBy === null) this.#child = this.#newChild(t);
    return this.#child;
  }
}
