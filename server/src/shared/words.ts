import type { BlindTo, Incident, Status } from '../model/schema.ts';

/** What the page and the terminal say alike: words from what the API says. */

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}

/** A duration of a call. */
export function duration(seconds: number): string {
  if (seconds >= 1) return `${seconds.toFixed(seconds >= 10 ? 1 : 2)} s`;
  if (seconds >= 1e-3) return `${(seconds * 1e3).toFixed(seconds >= 0.01 ? 0 : 1)} ms`;
  return `${Math.round(seconds * 1e6)} µs`;
}

/** Each by its sentence; many by their kinds, and the newest by its sentence. */
export function incidentSentences(incidents: readonly Incident[], state: 'open' | 'over'): string[] {
  const [newest] = incidents;
  if (newest === undefined || incidents.length <= 3) return incidents.map(({ sentence }) => sentence);
  const kinds = new Map<string, number>();
  for (const { kind } of incidents) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  const words = [...kinds].map(([kind, number]) => `${number} × ${kind.replaceAll('_', ' ')}`);
  return [
    `${count(incidents.length, 'incident')} are ${state}: ${words.join(', ')}. The newest:`,
    newest.sentence,
  ];
}

/** What a critical incident has let through is not undone by its end. */
export function graveSentences(incidents: readonly Incident[]): string[] {
  const grave = incidents.filter(({ state, severity }) => state === 'closed' && severity === 'critical');
  return incidentSentences(grave, 'over');
}

/** What would not be seen if it happened, of what nobody may call this host safe without. */
export function unwatchedSentences(blind: readonly BlindTo[]): string[] {
  if (blind.length === 0) return [];
  const kinds = blind.map(({ kind }) => kind.replaceAll('_', ' '));
  const probes = new Set(blind.flatMap((one) => one.probes));
  return [
    `Not watched: ${kinds.join(', ')}. It would not be seen here: ${[...probes].join(', ')} ` +
      `${probes.size === 1 ? 'is' : 'are'} not attached.`,
  ];
}

/** What was lost since the start; empty where nothing was. */
export function lossSentences(status: Pick<Status, 'losses' | 'missed_returns' | 'decode_errors'>): string[] {
  const lost = Object.entries(status.losses).filter(([, number]) => number > 0);
  const sentences: string[] = [];
  if (lost.length > 0) {
    const all = lost.reduce((sum, [, number]) => sum + number, 0);
    const where = lost.map(
      ([stage, number]) => `${stage.replaceAll('_', ' ')} ${number.toLocaleString('en')}`,
    );
    sentences.push(
      `${count(all, 'event')} or counts were lost (${where.join(', ')}): what is shown may not be all that happened.`,
    );
  }
  if (status.missed_returns > 0)
    sentences.push(`${count(status.missed_returns, 'call was', 'calls were')} not seen to return.`);
  if (status.decode_errors > 0)
    sentences.push(`${count(status.decode_errors, 'line')} of the stream could not be read.`);
  return sentences;
}

/** Of a host that is watched again; one that is not says so itself. */
export function blindSentence(status: Pick<Status, 'state' | 'blind_seconds'>): string | null {
  if (status.blind_seconds === 0 || status.state !== 'tracing') return null;
  return `Nothing was seen for ${duration(status.blind_seconds)} in all since the start.`;
}
