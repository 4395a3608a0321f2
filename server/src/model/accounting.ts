import { LOSS_STAGES } from '../stream/codes.ts';
import type { DecodeReason } from '../stream/decode.ts';
import { DECODE_REASONS } from '../stream/decode.ts';
import { RingLoss } from '../stream/ring-loss.ts';
import { CHILD_REASONS, type ChildReason, HOST_SOURCES, type HostError, type Loss } from '../stream/wire.ts';
import { BlindTime } from './blind-time.ts';
import { EVENT_KINDS, type EventKind } from './schema.ts';

/** Where events or counts can be lost: on the kernel's ring, or at a stage that the collector reports. */
export const ALL_LOSS_STAGES = ['kernel_ring', ...LOSS_STAGES] as const;
export type LossStage = (typeof ALL_LOSS_STAGES)[number];

export type State = 'waiting' | 'starting' | 'tracing' | 'blind' | 'unavailable';

/** Names of probes that are remembered; a program has some dozens. */
export const PROBES_LIMIT = 1024;

/** One bpftrace child, as far as its events are accounted for. */
interface ChildAccount {
  startedAt: number;
  lastBeatAt: number | null;
  /** True once its `ready` was seen: then `emitted` counts from zero with us. */
  whole: boolean;
  /** What it had emitted before we listened. */
  emittedBefore: number;
  emitted: number;
  arrived: number;
  /** Missing at the last heartbeat and not told as lost. */
  unaccounted: number;
  ring: RingLoss;
  collectorDropsBefore: number;
  /** Counter lines that came, and at the last end of a read: how many had come, and how many it said were printed. */
  counterLines: number;
  lastRead: { came: number; printed: number };
  counterLoss: RingLoss;
}

function zeros<K extends string>(keys: readonly K[]): Record<K, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>;
}

/** What was emitted, received, lost and not seen, over all children. No clock: time is what the lines say. */
export class Accounting {
  state: State = 'waiting';
  generation = 0;
  /** Latest time in the stream, microseconds since boot. */
  now = 0;
  /** When the counters were last read; null before the first read. */
  lastReadAt: number | null = null;
  /** When something was last lost or not seen: what was learnt before is not the whole picture. */
  lastLossAt = 0;
  helperErrors = 0;
  lossReports = 0;
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
  /** When the tracing began that goes on, over all who have taken over. */
  #tracingSince = 0;
  #probesBlind = new Map<string, BlindTime>();
  /** Probes of the running child that are dead or not there yet, and since when. */
  #unseen = new Map<string, number>();
  #past = { emitted: 0, ringLost: 0, counterLines: 0 };
  #lossLines = zeros(LOSS_STAGES);
  #lossLast = zeros(LOSS_STAGES);
  #hostErrorsLast = zeros(HOST_SOURCES);
  #fullMapErrors = 0;

  get blindSeconds(): number {
    return this.#blind.micros / 1e6;
  }

  /** Time in which this probe alone did not watch what it is for; not that in which none did. */
  probeBlindSeconds(probe: string): number {
    return (this.#probesBlind.get(probe)?.micros ?? 0) / 1e6;
  }

  get eventsReceived(): number {
    return Object.values(this.eventsByKind).reduce((sum, count) => sum + count, 0);
  }

  get eventsEmitted(): number {
    return this.#past.emitted + (this.#child === null ? 0 : this.#child.emitted - this.#child.emittedBefore);
  }

  /** Emitted at the last heartbeat, and neither arrived by then nor told as lost. A child that has ended leaves none. */
  get eventsUnaccounted(): number {
    return this.#child?.unaccounted ?? 0;
  }

  /** Counter lines that a child printed and that were missing at two reads in a row. */
  get counterLinesLost(): number {
    return this.#past.counterLines + (this.#child?.counterLoss.lost ?? 0);
  }

  get losses(): Record<LossStage, number> {
    return {
      kernel_ring: this.#past.ringLost + (this.#child?.ring.lost ?? 0),
      ...this.#lossLines,
      // The collector may report these too, and may also pass the messages on: they are the same ones.
      map_full: Math.max(this.#lossLines.map_full, this.#fullMapErrors),
    };
  }

  /** Moves the stream's time on. */
  seen(t: number): void {
    if (t > this.now) this.now = t;
  }

  /** Another collector, or another connection to it: what came between is unknown. */
  header(t: number): void {
    this.seen(t);
    this.#lossLast = zeros(LOSS_STAGES);
    this.#hostErrorsLast = zeros(HOST_SOURCES);
    this.#lost(t);
  }

  childStarting(t: number): void {
    this.seen(t);
    if (this.#child !== null) this.childExited(t, 'stopped');
    if (this.#endedBy !== null && this.generation > 0) this.restarts[this.#endedBy] += 1;
    this.#endedBy = null;
    this.generation += 1;
    this.#child = this.#newChild(t);
    // One that takes over has been attached all along.
    if (this.state === 'tracing') {
      this.#probesSeenAgain(t);
      return;
    }
    this.#blind.advance(t);
    this.state = this.#everReady ? 'blind' : 'starting';
  }

  /** `blindSince`: where its probes were dead before it ended, when they may have died. */
  childExited(t: number, reason: ChildReason, blindSince?: number): void {
    this.seen(t);
    this.#endedBy = reason;
    if (reason !== 'handed_over') {
      if (this.#child !== null) this.#nothingSeen(this.#child, blindSince);
      this.state = 'blind';
      this.#lost(t);
    }
    if (this.#child === null) return;
    // What is missing now will not come any more.
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
    this.#tracing(t);
  }

  heartbeat(t: number, emitted: number): void {
    this.seen(t);
    const child = this.#listening(t);
    if (child === null) return;
    if (this.state !== 'tracing') this.#tracing(t);
    if (!child.whole) {
      child.whole = true;
      child.emittedBefore = Math.max(0, emitted - child.arrived);
    }
    child.lastBeatAt = t;
    this.#advanceUnseen(t);
    child.emitted = Math.max(child.emitted, emitted);
    const missing = this.#missing(child);
    if (child.ring.heartbeat(missing)) this.#lost(t);
    child.unaccounted = Math.max(0, missing - child.ring.lost);
  }

  event(kind: EventKind, t: number): void {
    this.seen(t);
    this.eventsByKind[kind] += 1;
    const child = this.#listening(t);
    if (child !== null) child.arrived += 1;
  }

  counterLine(): void {
    if (this.#child !== null) this.#child.counterLines += 1;
  }

  /** The end of one read of all counters: it counts as one, and gives true, only if none of its lines was lost. */
  readEnd(t: number, printed: number): boolean {
    this.seen(t);
    if (this.#child === null) return false;
    const { counterLines: came, lastRead } = this.#child;
    const whole = came - lastRead.came >= printed - lastRead.printed;
    if (whole) this.lastReadAt = Math.max(this.lastReadAt ?? 0, t);
    this.#child.lastRead = { came, printed };
    // What was printed before we listened did not get lost.
    if (this.#child.whole) this.#child.counterLoss.heartbeat(Math.max(0, printed - came));
    return whole;
  }

  /** Probes of the running child have died, or are not there yet: what they would have told is missing, if there was any. */
  probesChanged(t: number, blind: readonly string[] = [], since = t): void {
    this.seen(t);
    this.#lost(t);
    for (const probe of blind) {
      if (this.#unseen.size < PROBES_LIMIT && !this.#unseen.has(probe)) this.#unseen.set(probe, since);
    }
  }

  /** Calls were not seen to return: the events of these were never printed, whatever else came. */
  returnsMissed(): void {
    this.#lost(this.now);
  }

  decodeFailure(reason: DecodeReason): void {
    this.decodeErrors[reason] += 1;
    // It came, so the ring did not lose it.
    if ((reason === 'bad_fields' || reason === 'unknown_tag') && this.#child !== null)
      this.#child.arrived += 1;
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

  #nothingSeen({ lastBeatAt, startedAt }: ChildAccount, since = Number.POSITIVE_INFINITY): void {
    const from = lastBeatAt === null ? startedAt : Math.min(lastBeatAt, Math.max(since, this.#tracingSince));
    if (this.state === 'tracing') this.#probesSeenAgain(from);
    this.#unseen.clear();
    this.#blind.open(from);
  }

  /** Up to `t` these probes alone were not there; before the tracing began, none was. */
  #advanceUnseen(t: number): void {
    for (const [probe, since] of this.#unseen) {
      const known = this.#probesBlind.get(probe);
      if (known === undefined && this.#probesBlind.size >= PROBES_LIMIT) continue;
      const time = known ?? new BlindTime();
      this.#probesBlind.set(probe, time);
      time.open(Math.max(since, this.#tracingSince));
      time.advance(t);
    }
  }

  /** From `t` on they are there like the others, or the others are not there either. */
  #probesSeenAgain(t: number): void {
    this.#advanceUnseen(t);
    for (const probe of this.#unseen.keys()) this.#probesBlind.get(probe)?.close(t);
    this.#unseen.clear();
  }

  /** What the collector dropped did come off the ring, so it is not the ring's loss. */
  #missing(child: ChildAccount): number {
    const drops = this.#collectorDrops() - child.collectorDropsBefore;
    return Math.max(0, child.emitted - child.emittedBefore - child.arrived - drops);
  }

  #collectorDrops(): number {
    return this.#lossLines.splitter + this.#lossLines.queue;
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
      lastRead: { came: 0, printed: 0 },
      counterLoss: new RingLoss(),
    };
  }

  /** The running child, also where the line of its start was missed; null for what comes late from one that has ended. */
  #listening(t: number): ChildAccount | null {
    if (this.#child === null && this.#endedBy === null) this.#child = this.#newChild(t);
    return this.#child;
  }
}
