import type { TracerEvent } from '../model/schema.ts';

export type Refusal = Extract<TracerEvent, { kind: 'export' | 'import' | 'bind' }>;

/** What the kernel counts as refused: a buffer that was not given, taken or bound. A read that failed refuses nobody. */
export function isRefusal(event: TracerEvent): event is Refusal {
  return (event.kind === 'export' || event.kind === 'import' || event.kind === 'bind') && event.errno !== 0;
}
