import type { BufferView } from './buffers.ts';
import { capital, count } from './format.ts';
import type { BlindTo, Incident } from './incidents.ts';
import type { Status } from './status.ts';
import { blindToSentences, closedCriticalSentences, incidentSentences, lossSentences } from './texts.ts';

/** The state of a host in one word. Page and terminal show the same one. */
export type Level = 'safe' | 'attention' | 'critical' | 'blind' | 'not-ready';

export interface Verdict {
  level: Level;
  word: string;
  /** The causes as sentences, the most severe first; at least one. */
  why: [string, ...string[]];
}

export interface VerdictInput {
  status: Status & { not_ready: string | null };
  /** Open and closed incidents; null if they are not known yet. */
  incidents: { incidents: readonly Incident[]; blind_to: readonly BlindTo[] } | null;
  /** All buffers of the host; null if only a part of them is known. */
  buffers: readonly BufferView[] | null;
}

/** Number of sentences of a verdict that page and terminal show. */
export const REASONS_SHOWN = 4;

const WORDS: Readonly<Record<Level, string>> = {
  safe: 'Safe',
  attention: 'Attention',
  critical: 'Critical',
  blind: 'Blind',
  'not-ready': 'Not ready',
};

/**
 * Rates a host by the answers of the API. A critical incident stays visible after its end, because its effects are not undone, and
 * while the host is blind. A host with losses is never safe.
 */
export function verdictOf({ status, incidents, buffers }: VerdictInput): Verdict {
  const of = (level: Level, first: string, ...others: string[]): Verdict => ({
    level,
    word: WORDS[level],
    why: [first, ...others],
  });
  const all = incidents?.incidents ?? [];
  const open = all.filter(({ state }) => state === 'open');
  const past = all.filter(({ state }) => state === 'closed');
  const ofSeverity = (severity: Incident['severity']) =>
    incidentSentences(
      open.filter((one) => one.severity === severity),
      'open',
    );
  const untraced = untracedSentences(status);
  const warnings = ofSeverity('warning');
  const doubts = doubtsOf(status, incidents?.blind_to ?? []);

  const [critical, ...moreCritical] = [...ofSeverity('critical'), ...closedCriticalSentences(past)];
  if (critical !== undefined)
    return of('critical', critical, ...moreCritical, ...untraced, ...warnings, ...doubts);
  const [blind, ...moreBlind] = untraced;
  if (blind !== undefined) return of('blind', blind, ...moreBlind);
  if (status.not_ready !== null) return of('not-ready', `${capital(status.not_ready)}.`);
  const [attention, ...moreAttention] = [...warnings, ...doubts];
  if (attention !== undefined) return of('attention', attention, ...moreAttention);
  const ended = past.length === 0 ? [] : [`${count(past.length, 'earlier incident')} ended.`];
  return of('safe', safeSentence(status, buffers), ...ended);
}

/** Why nothing is traced now. The end of a recording is not a reason: every recording ends. */
function untracedSentences({ source, state, problem }: Status): string[] {
  const ended = source.kind === 'replay' && state === 'blind' && problem === null;
  if (ended || (state !== 'blind' && state !== 'unavailable')) return [];
  const cause = problem === null ? [] : [`${problem.message}.`.replace(/\.\.$/, '.')];
  return state === 'blind'
    ? ['Nothing is traced now: bpftrace does not run.', ...cause]
    : ['This host cannot be traced.', ...cause];
}

/** What may have been missed. */
function doubtsOf(status: Status, blindTo: readonly BlindTo[]): string[] {
  const doubts = [...blindToSentences(blindTo), ...lossSentences(status)];
  if (doubts.length > 0 || status.buffer_state_exact || status.source.kind === 'replay') return doubts;
  return ['A snapshot is being taken after a blind time: some buffers may be missing.'];
}

function safeSentence({ dialect }: Status, buffers: readonly BufferView[] | null): string {
  const none = 'There is no open incident.';
  if (dialect === 'private-v1') {
    if (buffers === null) return none;
    const privateBuffers = buffers.filter(
      ({ privacy, state }) => privacy === 'private' && state !== 'released',
    );
    return privateBuffers.length === 0
      ? 'No private device memory is exported, and there is no open incident.'
      : `${count(privateBuffers.length, 'private export')}: none was accepted outside its VM, and there is no open incident.`;
  }
  return dialect.startsWith('private')
    ? `${none} Exports of this kernel do not declare whether they are private.`
    : `${none} This kernel has no private exports.`;
}
