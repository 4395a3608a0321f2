import {
  blindToSentences,
  closedCriticalSentences,
  count,
  incidentSentences,
  lossSentences,
} from '../src/shared/texts.ts';
import { atLeast } from './format.ts';
import type { BufferView, Incidents, Status } from './types.ts';

export type Level = 'safe' | 'attention' | 'critical' | 'blind' | 'not-ready';

export interface Headline {
  level: Level;
  word: string;
  /** Why, the gravest first. */
  why: string[];
}

const WORDS: Readonly<Record<Level, string>> = {
  safe: 'Safe',
  attention: 'Attention',
  critical: 'Critical',
  blind: 'Blind',
  'not-ready': 'Not ready',
};

/** How this host stands, from what the API says. A word is no better than what is known: losses are never `safe`. */
export function headline(
  status: Status,
  incidents: Incidents | null,
  buffers: readonly BufferView[],
): Headline {
  const of = (level: Level, ...why: string[]): Headline => ({ level, word: WORDS[level], why });
  const open = incidents?.incidents.filter(({ state }) => state === 'open') ?? [];
  const critical = incidentSentences(
    open.filter(({ severity }) => severity === 'critical'),
    'open',
  );
  const warnings = incidentSentences(
    open.filter(({ severity }) => severity === 'warning'),
    'open',
  );
  // A recording of a host that was blind at its end is told as what it is.
  const blind = status.state === 'blind' || status.state === 'unavailable';
  if (blind) {
    const { problem } = status;
    const what =
      status.state === 'blind'
        ? 'Nothing is traced now: bpftrace does not run.'
        : 'This host cannot be traced.';
    return of(
      'blind',
      what,
      ...(problem === null ? [] : [`${problem.message}.`.replace(/\.\.$/, '.')]),
      ...critical,
    );
  }
  if (status.not_ready !== null) return of('not-ready', `${capital(status.not_ready)}.`, ...critical);
  if (critical.length > 0) return of('critical', ...critical, ...warnings);
  const past = incidents?.incidents.filter(({ state }) => state === 'closed') ?? [];
  const grave = closedCriticalSentences(past);
  const doubts = [...blindToSentences(incidents?.blind_to ?? []), ...lossSentences(status)];
  if (doubts.length === 0 && !status.buffer_state_exact && status.source.kind === 'live')
    doubts.push('A snapshot is being taken after a blind time: some buffers may be missing.');
  const attention = [...warnings, ...grave, ...doubts];
  if (attention.length > 0) return of('attention', ...attention);
  const over =
    past.length === 0
      ? []
      : [`${count(past.length, 'incident')} of before ${past.length === 1 ? 'is' : 'are'} over.`];
  return of('safe', safeSentence(status, buffers), ...over);
}

/** Whether what is shown is of now; of before, for nothing is traced now; or of nothing, for nothing ever was. */
export type Knowledge = 'now' | 'before' | 'never';

export function knowledgeOf(status: Status | null): Knowledge {
  if (status === null) return 'never';
  if (status.state === 'tracing') return 'now';
  const { last_counter_read: read, events_received: events, buffers } = status;
  return read !== null || events + buffers.live + buffers.revoked > 0 ? 'before' : 'never';
}

/** In place of a zero, which would look like peace. */
export const NOT_KNOWN = 'Not known: nothing is traced.';

/** Where there is no buffer to show. */
export const NO_EXPORT: Readonly<Record<Knowledge, string>> = {
  now: 'No device exports its memory now.',
  before: 'No device exported its memory when this was last seen.',
  never: NOT_KNOWN,
};

/** What has to be attached for a number to be the whole one. */
export type Watched = 'rejections' | 'importers' | 'revocations';

export function watches(status: Status | null, what: Watched): boolean {
  if (status === null) return false;
  const attached = new Set(status.probes.filter((probe) => probe.attached).map(({ probe }) => probe));
  const bind = status.dialect.startsWith('private') ? ['bind'] : [];
  const wanted = {
    rejections: ['export', 'attach', ...bind],
    importers: ['attach', 'detach', ...bind],
    revocations: ['revoke'],
  };
  return wanted[what].every((probe) => attached.has(probe));
}

/** A number in words. What was attached when tracing ended may not be told any more: a number of then is left as it is. */
export function figure(number: number, status: Status | null, what: Watched): string {
  return atLeast(number, watches(status, what) || (number > 0 && knowledgeOf(status) === 'before'));
}

/** What a loss means for the counters. */
export function countersSentence({ counters_exact: exact }: Pick<Status, 'counters_exact'>): string {
  return exact
    ? 'Counters come from the kernel, and lost events do not change them.'
    : 'Counters are too low: each is a lower bound.';
}

function safeSentence(status: Status, buffers: readonly BufferView[]): string {
  const secret = buffers.filter(({ privacy, state }) => privacy === 'private' && state !== 'released');
  if (status.dialect === 'private-v1') {
    return secret.length === 0
      ? 'No private device memory is exported, and there is no open incident.'
      : `${count(secret.length, 'private export')}: none was accepted outside its VM, and there is no open incident.`;
  }
  return 'There is no open incident. This kernel has no private exports.';
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
