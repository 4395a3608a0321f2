import type { BlindTo, BufferView, Incident, Status } from '../model/schema.ts';
import { count, graveSentences, incidentSentences, lossSentences, unwatchedSentences } from './words.ts';

/** The state of a host in one word. Page and terminal show the same one. */
export type Level = 'safe' | 'attention' | 'critical' | 'blind' | 'not-ready';

export interface Verdict {
  level: Level;
  word: string;
  /** Why, as sentences, the most severe first; at least one. */
  why: [string, ...string[]];
}

export interface VerdictInput {
  status: Status & { not_ready: string | null };
  /** Open and closed ones; null if they are not known yet. */
  incidents: { incidents: readonly Incident[]; blind_to: readonly BlindTo[] } | null;
  /** All buffers of the host; null if only a part of them is known. */
  buffers: readonly BufferView[] | null;
}

/** Sentences that page and terminal show of a verdict; the others are in the lists below it. */
export const REASONS_SHOWN = 4;

const WORDS: Readonly<Record<Level, string>> = {
  safe: 'Safe',
  attention: 'Attention',
  critical: 'Critical',
  blind: 'Blind',
  'not-ready': 'Not ready',
};

/**
 * Judges a host by what the API reports. A critical incident is never hidden: not by its end, since what it exposed was
 * exposed, and not by a host that is blind now. A host with losses is never safe.
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

  const [critical, ...moreCritical] = [...ofSeverity('critical'), ...graveSentences(past)];
  if (critical !== undefined)
    return of('critical', critical, ...moreCritical, ...untraced, ...warnings, ...doubts);
  const [blind, ...moreBlind] = untraced;
  if (blind !== undefined) return of('blind', blind, ...moreBlind);
  if (status.not_ready !== null) return of('not-ready', `${capital(status.not_ready)}.`);
  const [attention, ...moreAttention] = [...warnings, ...doubts];
  if (attention !== undefined) return of('attention', attention, ...moreAttention);
  const over = past.length === 0 ? [] : [`${count(past.length, 'earlier incident')} ended.`];
  return of('safe', safeSentence(status, buffers), ...over);
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
function doubtsOf(status: Status, blind: readonly BlindTo[]): string[] {
  const doubts = [...unwatchedSentences(blind), ...lossSentences(status)];
  if (doubts.length > 0 || status.buffer_state_exact || status.source.kind === 'replay') return doubts;
  return ['A snapshot is being taken after a blind time: some buffers may be missing.'];
}

function safeSentence({ dialect }: Status, buffers: readonly BufferView[] | null): string {
  const none = 'There is no open incident.';
  if (dialect === 'private-v1') {
    if (buffers === null) return none;
    const secret = buffers.filter(({ privacy, state }) => privacy === 'private' && state !== 'released');
    return secret.length === 0
      ? 'No private device memory is exported, and there is no open incident.'
      : `${count(secret.length, 'private export')}: none was accepted outside its VM, and there is no open incident.`;
  }
  return dialect.startsWith('private')
    ? `${none} Exports of this kernel do not declare whether they are private.`
    : `${none} This kernel has no private exports.`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
