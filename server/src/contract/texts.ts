import { count, duration, number, words } from './format.ts';
import type { BlindTo, Incident } from './incidents.ts';
import type { Status } from './status.ts';

/** Sentences that the page and the terminal share, made from answers of the API. */

/** Up to three incidents: the sentence of each. More: their number by kind, and the sentence of the newest. */
export function incidentSentences(incidents: readonly Incident[], state: 'open' | 'closed'): string[] {
  const [newest] = incidents;
  if (newest === undefined || incidents.length <= 3) return incidents.map(({ sentence }) => sentence);
  const kinds = new Map<string, number>();
  for (const { kind } of incidents) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  const numbers = [...kinds].map(([kind, incidents]) => `${incidents} × ${words(kind)}`);
  return [
    `${count(incidents.length, 'incident')} are ${state}: ${numbers.join(', ')}. The newest:`,
    newest.sentence,
  ];
}

/** Sentences of closed critical incidents: closing one does not undo its effects. */
export function closedCriticalSentences(incidents: readonly Incident[]): string[] {
  const critical = incidents.filter(({ state, severity }) => state === 'closed' && severity === 'critical');
  return incidentSentences(critical, 'closed');
}

/** The critical and private kinds of incident that would be missed, because their probes are not attached. */
export function blindToSentences(blindTo: readonly BlindTo[]): string[] {
  if (blindTo.length === 0) return [];
  const kinds = blindTo.map(({ kind }) => words(kind));
  const probes = new Set(blindTo.flatMap((one) => one.probes));
  return [
    `Not traced: ${kinds.join(', ')}. Such incidents would be missed: ${[...probes].join(', ')} ` +
      `${probes.size === 1 ? 'is' : 'are'} not attached.`,
  ];
}

/** Sentences about losses since the start; empty if nothing was lost. */
export function lossSentences(status: Pick<Status, 'losses' | 'missed_returns' | 'decode_errors'>): string[] {
  const lost = Object.entries(status.losses).filter(([, events]) => events > 0);
  const sentences: string[] = [];
  if (lost.length > 0) {
    const all = lost.reduce((sum, [, events]) => sum + events, 0);
    const stages = lost.map(([stage, events]) => `${words(stage)} ${number(events)}`);
    sentences.push(
      `${count(all, 'event')} or counts were lost (${stages.join(', ')}): some activity may be missing here.`,
    );
  }
  if (status.missed_returns > 0)
    sentences.push(`The return of ${count(status.missed_returns, 'call')} was not traced.`);
  if (status.decode_errors > 0)
    sentences.push(`${count(status.decode_errors, 'line')} of the stream could not be read.`);
  return sentences;
}

/** The blind time of a host that is traced again; null while it is blind, because then its state reports that. */
export function blindSentence(status: Pick<Status, 'state' | 'blind_seconds'>): string | null {
  if (status.blind_seconds === 0 || status.state !== 'tracing') return null;
  return `Nothing was traced for ${duration(status.blind_seconds)} in total since the start.`;
}
