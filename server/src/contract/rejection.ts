import type { TracerEvent } from './events.ts';

export type Rejection = Extract<TracerEvent, { kind: 'export' | 'import' | 'bind' }>;

/** Whether the kernel rejected an export, an import or a bind. A failed read of private data is not a rejection. */
export function isRejection(event: TracerEvent): event is Rejection {
  return (event.kind === 'export' || event.kind === 'import' || event.kind === 'bind') && event.errno !== 0;
}
