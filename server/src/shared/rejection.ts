import type { TracerEvent } from '../model/schema.ts';

export type Rejection = Extract<TracerEvent, { kind: 'export' | 'import' | 'bind' }>;

/** What the kernel counts as rejected: a buffer that was not given, taken or bound. A read that failed rejects nobody. */
export function isRejection(event: TracerEvent): event is Rejection {
  return (event.kind === 'export' || event.kind === 'import' || event.kind === 'bind') && event.errno !== 0;
}
