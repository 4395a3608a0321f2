import { type Static, Type } from 'typebox';
import { INCOMPLETE, type TimeRangeAnswer } from '../../contract/answers.ts';
import type { TracerEvent } from '../../contract/events.ts';
import { TracerError } from '../../lib/errors.ts';
import type { EventLog } from '../../sinks/event-log.ts';
import type { TracerModel } from '../../tracer/tracer.ts';

const AGO = '[0-9]{1,9}(s|m|h|d)';
const DATE_TIME =
  '[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})';
const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

function Bound(what: string) {
  return Type.Optional(
    Type.String({
      pattern: `^(${AGO}|${DATE_TIME})$`,
      description: `${what}: an RFC 3339 time such as 2026-11-27T08:00:00Z, or a time ago such as 90s, 15m, 1h or 2d`,
    }),
  );
}

/** The times of the wanted events. A time ago is relative to `now` of /api/v1/status, so that a replay has it too. */
export const TimeRangeQuery = Type.Object({
  since: Bound('events from this time on'),
  until: Bound('events up to this time'),
});

/** A range in milliseconds since the epoch. */
export interface TimeRange {
  sinceMs: number;
  untilMs: number;
}

/** @throws TracerError if a time does not exist, or the range is empty */
export function timeRange(
  { since, until }: { since?: string | undefined; until?: string | undefined },
  model: TracerModel,
): TimeRange {
  const nowMs = since === undefined && until === undefined ? 0 : Date.parse(model.status().now);
  const sinceMs = since === undefined ? Number.NEGATIVE_INFINITY : momentOf('since', since, nowMs);
  const untilMs = until === undefined ? Number.POSITIVE_INFINITY : momentOf('until', until, nowMs);
  if (sinceMs > untilMs) {
    throw new TracerError('bad_request', `since (${since}) is after until (${until})`, {
      where: 'query',
      remedy: 'give a since that is before until; without until the range ends now',
    });
  }
  return { sinceMs, untilMs };
}

function momentOf(name: string, text: string, nowMs: number): number {
  const unit = SECONDS[text.at(-1) as keyof typeof SECONDS] as number | undefined;
  const ms = unit === undefined ? Date.parse(text) : nowMs - Number(text.slice(0, -1)) * unit * 1000;
  if (isTime(ms)) return ms;
  throw new TracerError('bad_request', `${name} cannot be ${JSON.stringify(text)}: there is no such time`, {
    where: 'query',
    remedy: 'give a time such as 2026-11-27T08:00:00Z, or a time ago such as 1h',
  });
}

/** True for what a Date can have: 8.64e15 ms from the epoch. */
function isTime(ms: number): boolean {
  return !Number.isNaN(new Date(ms).getTime());
}

export function isWithin({ sinceMs, untilMs }: TimeRange, event: TracerEvent): boolean {
  if (sinceMs === Number.NEGATIVE_INFINITY && untilMs === Number.POSITIVE_INFINITY) return true;
  const ms = Date.parse(event.time);
  return ms >= sinceMs && ms <= untilMs;
}

/** @param more events match beyond the limit */
export function timeRangeAnswer(
  range: TimeRange,
  more: boolean,
  { events, model }: { events: EventLog; model: TracerModel },
): Static<typeof TimeRangeAnswer> {
  const { losses, events_unaccounted, blind_seconds } = model.status();
  const first = events.first;
  const isBeforeLog = first === undefined || range.sinceMs < Date.parse(first.time);
  const incomplete = {
    limit: more,
    evicted: events.dropped > 0 && isBeforeLog,
    lost: events_unaccounted > 0 || Object.values(losses).some((number) => number > 0),
    blind: blind_seconds > 0,
  };
  return {
    since: textOf(range.sinceMs),
    until: textOf(range.untilMs),
    oldest: events.oldest,
    oldest_time: first?.time ?? null,
    incomplete: INCOMPLETE.filter((reason) => incomplete[reason]),
  };
}

function textOf(ms: number): string | null {
  return isTime(ms) ? new Date(ms).toISOString() : null;
}
