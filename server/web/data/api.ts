import type { Buffers, Events, History, Incidents, Reason, Rejections, Status, Topology } from './types.ts';

/** The answers of the API. URLs are relative, because the page may be served below a path. */
interface Answers {
  status: Status;
  buffers: Buffers;
  topology: Topology;
  incidents: Incidents;
  rejections: Rejections;
  history: History;
  events: Events;
}

export type Query = Readonly<Record<string, string | number>>;

export async function ask<K extends keyof Answers>(
  what: K,
  query: Query = {},
  signal?: AbortSignal,
): Promise<Answers[K]> {
  const parameters = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
  const answer = await fetch(`api/v1/${what}${parameters.size === 0 ? '' : `?${parameters}`}`, {
    ...(signal === undefined ? {} : { signal }),
  });
  if (!answer.ok) throw new Error(`${what}: ${answer.status}`);
  return (await answer.json()) as Answers[K];
}

export async function askReason(name: string): Promise<Reason | 'unknown'> {
  const answer = await fetch(`api/v1/reasons/${encodeURIComponent(name)}`);
  if (answer.status === 404) return 'unknown';
  if (!answer.ok) throw new Error(`reasons: ${answer.status}`);
  return (await answer.json()) as Reason;
}
